package main

import (
	"fmt"
	"os"
	"runtime"
	"sync"
)

// resident gives the bytes of this process that are in memory; where the system
// does not tell, those that the Go runtime has obtained.
func resident() int {
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, pages int
		if _, err := fmt.Sscan(string(text), &size, &pages); err == nil {
			return pages * os.Getpagesize()
		}
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int(stats.Sys)
}

func memoryParked(n int) float64 {
	c := make(chan int)
	var ready, ended sync.WaitGroup
	ready.Add(n)
	before := resident()
	for range n {
		ended.Go(func() {
			ready.Done()
			<-c
		})
	}
	ready.Wait()
	taken := float64(resident()-before) / float64(n)
	for i := range n {
		c <- i
	}
	ended.Wait()
	return taken
}
