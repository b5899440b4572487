package main

import (
	"runtime"
	"sync"
	"time"
)

const (
	contendedSlots = 128
	contendedItems = 1000 // by each producer
)

func send(c chan int, value int) { c <- value }

func fanOut(n, capacity int) float64 {
	start := time.Now()
	c := make(chan int, capacity)
	for i := range n {
		go send(c, i)
	}
	sum := 0
	for range n {
		sum += <-c
	}
	taken := each(start, n)
	check(sum, n*(n-1)/2)
	return taken
}

func fanOutBuffered(n int) float64   { return fanOut(n, n) }
func fanOutUnbuffered(n int) float64 { return fanOut(n, 0) }

func pingPong(n int) float64 {
	there, back := make(chan int), make(chan int)
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() {
		for i := range n {
			there <- i
			<-back
		}
	})
	wg.Go(func() {
		for range n {
			back <- <-there
		}
	})
	wg.Wait()
	return each(start, n)
}

func contended(n, slots int) float64 {
	start := time.Now()
	c := make(chan int, slots)
	for range n {
		go func() {
			for i := range contendedItems {
				c <- i
			}
		}()
	}
	sum := 0
	for range n * contendedItems {
		sum += <-c
	}
	taken := each(start, n*contendedItems)
	check(sum, n*contendedItems*(contendedItems-1)/2)
	return taken
}

func contendedBuffered(n int) float64   { return contended(n, contendedSlots) }
func contendedUnbuffered(n int) float64 { return contended(n, 0) }

func spawnWaitGroup(n int) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Go(func() {})
	}
	wg.Wait()
	return each(start, n)
}

// A goroutine has no handle in Go; a channel closed at its end is the usual one.
func spawnHandles(n int) float64 {
	start := time.Now()
	handles := make([]chan struct{}, n)
	for i := range handles {
		done := make(chan struct{})
		go func() { defer close(done) }()
		handles[i] = done
	}
	for _, done := range handles {
		<-done
	}
	return each(start, n)
}

func yield(n int) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for range 2 {
		wg.Go(func() {
			for range n {
				runtime.Gosched()
			}
		})
	}
	wg.Wait()
	return each(start, 2*n)
}
