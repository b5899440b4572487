package main

import (
	"reflect"
	"sync"
	"time"
)

func hop(n, capacity int) float64 {
	start := time.Now()
	c := make(chan int, capacity)
	go feed(c, n)
	sum := 0
	for value := range c {
		sum += value
	}
	taken := each(start, n)
	check(sum, n*(n-1)/2)
	return taken
}

func feed(c chan<- int, n int) {
	for i := range n {
		c <- i
	}
	close(c)
}

func hopBuffered(n int) float64   { return hop(n, contendedSlots) }
func hopUnbuffered(n int) float64 { return hop(n, 0) }

func sift(from <-chan int, to chan<- int, prime int) {
	for i := range from {
		if i%prime != 0 {
			to <- i
		}
	}
	close(to)
}

func sieve(n int) float64 {
	last, hops := sieveWork(n)
	start := time.Now()
	c := make(chan int)
	go func(c chan<- int) {
		for i := 2; i <= last; i++ {
			c <- i
		}
		close(c)
	}(c)
	prime := 0
	for range n {
		prime = <-c
		filtered := make(chan int)
		go sift(c, filtered, prime)
		c = filtered
	}
	taken := each(start, hops)
	check(prime, last)
	for range c {
		fail("a number was left over")
	}
	return taken
}

func node(c chan<- int, first, size int) {
	if size == 1 {
		c <- first
		return
	}
	answers := make(chan int)
	children := 0
	for k := range fanOutDegree {
		low, high := size*k/fanOutDegree, size*(k+1)/fanOutDegree
		if high > low {
			go node(answers, first+low, high-low)
			children++
		}
	}
	sum := 0
	for range children {
		sum += <-answers
	}
	c <- sum
}

func skynet(n int) float64 {
	start := time.Now()
	c := make(chan int)
	go node(c, 0, n)
	sum := <-c
	taken := each(start, n)
	check(sum, n*(n-1)/2)
	return taken
}

func parkedTime(n int) float64 {
	start := time.Now()
	c := make(chan int)
	var ready, ended sync.WaitGroup
	ready.Add(n)
	for range n {
		ended.Go(func() {
			ready.Done()
			<-c
		})
	}
	ready.Wait()
	for i := range n {
		c <- i
	}
	ended.Wait()
	return each(start, n)
}

// selectReceive receives from n rendezvous channels, each of which has a producer. Up to ten
// are a select statement; more, which nobody writes out, go through package reflect.
func selectReceive(n int) float64 {
	items := selectValues / n
	start := time.Now()
	channels := make([]chan int, n)
	for i := range channels {
		channels[i] = make(chan int)
		go func() {
			for value := range items {
				channels[i] <- value
			}
		}()
	}
	receive := receiverOf(channels)
	sum := 0
	for range n * items {
		sum += receive()
	}
	taken := each(start, n*items)
	check(sum, n*items*(items-1)/2)
	return taken
}

func receiverOf(channels []chan int) func() int {
	switch len(channels) {
	case 2:
		a, b := channels[0], channels[1]
		return func() (value int) {
			select {
			case value = <-a:
			case value = <-b:
			}
			return value
		}
	case 10:
		c := [10]chan int(channels)
		return func() (value int) {
			select {
			case value = <-c[0]:
			case value = <-c[1]:
			case value = <-c[2]:
			case value = <-c[3]:
			case value = <-c[4]:
			case value = <-c[5]:
			case value = <-c[6]:
			case value = <-c[7]:
			case value = <-c[8]:
			case value = <-c[9]:
			}
			return value
		}
	}
	cases := make([]reflect.SelectCase, len(channels))
	for i, c := range channels {
		cases[i] = reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)}
	}
	return func() int {
		_, value, _ := reflect.Select(cases)
		return int(value.Int())
	}
}
