package main

import (
	"context"
	"runtime/debug"
	"sync"
	"time"
)

// full gives a channel that holds n values.
func full(n int) chan int {
	c := make(chan int, n)
	for range n {
		c <- 1
	}
	return c
}

func selectPlain(n int) float64 {
	c := full(n)
	sum := 0
	start := time.Now()
	for range n {
		sum += <-c
	}
	taken := each(start, n)
	check(sum, n)
	return taken
}

func selectReady(n int) float64 {
	a, b := full(n), full(n)
	sum := 0
	start := time.Now()
	for range n {
		select {
		case value := <-a:
			sum += value
		case value := <-b:
			sum += value
		}
	}
	taken := each(start, n)
	check(sum, n)
	return taken
}

func selectCases(n int) float64 {
	channels := make([]chan int, n)
	for i := range channels {
		channels[i] = make(chan int, 1)
	}
	receive := receiverOf(channels)
	sum, want := 0, 0
	start := time.Now()
	for k := range selectRounds {
		i := k * 7919 % n
		want += i
		channels[i] <- i
		sum += receive()
	}
	taken := each(start, selectRounds)
	check(sum, want)
	return taken
}

func selectParking(n int) float64 {
	there, back, idle := make(chan int), make(chan int), make(chan int)
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() {
		for i := range n {
			there <- i
			select {
			case <-back:
			case <-idle:
			}
		}
	})
	wg.Go(func() {
		for range n {
			value := 0
			select {
			case value = <-there:
			case <-idle:
			}
			back <- value
		}
	})
	wg.Wait()
	return each(start, n)
}

func rwMutexRead(n int) float64 {
	var mu sync.RWMutex
	sum := 0
	start := time.Now()
	for range n {
		mu.RLock()
		sum++
		mu.RUnlock()
	}
	taken := each(start, n)
	check(sum, n)
	return taken
}

// semaphoreAlone takes a buffered channel as the semaphore, as Effective Go has it.
func semaphoreAlone(n int) float64 {
	semaphore := make(chan struct{}, 4)
	sum := 0
	start := time.Now()
	for range n {
		semaphore <- struct{}{}
		sum++
		<-semaphore
	}
	taken := each(start, n)
	check(sum, n)
	return taken
}

func onceDone(n int) float64 {
	var once sync.Once
	count := 0
	start := time.Now()
	for range n {
		once.Do(func() { count++ })
	}
	taken := each(start, n)
	check(count, 1)
	return taken
}

func condPingPong(n int) float64 {
	cond := sync.NewCond(&sync.Mutex{})
	turn := 0
	run := func(me int) {
		for range n {
			cond.L.Lock()
			for turn != me {
				cond.Wait()
			}
			turn = 1 - me
			cond.Signal()
			cond.L.Unlock()
		}
	}
	var wg sync.WaitGroup
	start := time.Now()
	wg.Go(func() { run(0) })
	wg.Go(func() { run(1) })
	wg.Wait()
	return each(start, n)
}

// pendingTimers are AfterFunc's: what NewTimer gives is in Go's heap only while somebody receives.
func pendingTimers(first, n int) []*time.Timer {
	timers := make([]*time.Timer, n)
	for i := range timers {
		timers[i] = time.AfterFunc(far(first+i), func() {})
	}
	return timers
}

func stopAll(timers []*time.Timer) (stopped int) {
	for _, timer := range timers {
		if timer.Stop() {
			stopped++
		}
	}
	return stopped
}

// timersStartedAndStopped gives the nanoseconds to start a timer and to stop one, beside n others.
func timersStartedAndStopped(n int) (starting, stopping float64) {
	others := pendingTimers(0, n)
	start := time.Now()
	timers := pendingTimers(n, timerRounds)
	starting = each(start, timerRounds)
	start = time.Now()
	stopped := stopAll(timers)
	stopping = each(start, timerRounds)
	check(stopped+stopAll(others), timerRounds+n)
	return starting, stopping
}

func timersStart(n int) float64 {
	starting, _ := timersStartedAndStopped(n)
	return starting
}

func timersStop(n int) float64 {
	_, stopping := timersStartedAndStopped(n)
	return stopping
}

func memoryTimers(n int) float64 {
	before := resident()
	timers := pendingTimers(0, n)
	taken := float64(resident()-before) / float64(n)
	check(stopAll(timers), n)
	return taken
}

func memoryStopped(n int) float64 {
	debug.FreeOSMemory()
	before := resident()
	check(stopAll(pendingTimers(0, n)), n)
	debug.FreeOSMemory() // collects, too
	return float64(resident()-before) / float64(n)
}

func timersShort(n int) float64 {
	var wg sync.WaitGroup
	start := cpuTime()
	for range n {
		wg.Go(func() {
			for range naps {
				time.Sleep(napTime)
			}
		})
	}
	wg.Wait()
	return float64((cpuTime() - start).Nanoseconds()) / float64(n*naps)
}

func timersTicking(n int) float64 {
	var wg sync.WaitGroup
	start := cpuTime()
	for range n {
		wg.Go(func() {
			ticker := time.NewTicker(tickerTime)
			for range ticks {
				<-ticker.C
			}
			ticker.Stop()
		})
	}
	wg.Wait()
	return float64((cpuTime() - start).Nanoseconds()) / float64(n*ticks)
}

func timersFiring(n int) float64 {
	var wg sync.WaitGroup
	wg.Add(n)
	start := cpuTime()
	for range n {
		time.AfterFunc(napTime, wg.Done)
	}
	wg.Wait()
	return float64((cpuTime() - start).Nanoseconds()) / float64(n)
}

// timeoutUnused makes a context with a timeout and cancels it: what Go has for it.
func timeoutUnused(n int) float64 {
	sum := 0
	start := time.Now()
	for range n {
		_, cancel := context.WithTimeout(context.Background(), 1000*time.Second)
		sum++
		cancel()
	}
	taken := each(start, n)
	check(sum, n)
	return taken
}

// cancelParked gives each goroutine a context of its own: Go has no way to interrupt one.
func cancelParked(n int) float64 {
	c := make(chan int)
	cancels := make([]context.CancelFunc, n)
	var ready, ended sync.WaitGroup
	ready.Add(n)
	start := time.Now()
	for i := range n {
		ctx, cancel := context.WithCancel(context.Background())
		cancels[i] = cancel
		ended.Go(func() {
			ready.Done()
			select {
			case <-c:
			case <-ctx.Done():
			}
		})
	}
	ready.Wait()
	for _, cancel := range cancels {
		cancel()
	}
	ended.Wait()
	return each(start, n)
}

func groupChildren(n int) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Go(func() {})
	}
	wg.Wait()
	return each(start, n)
}

func contextMadeAndCancelled(n int) (making, cancelling float64) {
	parent, cancel := context.WithCancel(context.Background())
	children := make([]context.Context, n)
	cancels := make([]context.CancelFunc, n)
	start := time.Now()
	for i := range children {
		children[i], cancels[i] = context.WithCancel(parent)
	}
	making = each(start, n)
	start = time.Now()
	cancel()
	cancelling = each(start, n)
	cancelled := 0
	for _, child := range children {
		if child.Err() != nil {
			cancelled++
		}
	}
	check(cancelled, n)
	return making, cancelling
}

func contextMaking(n int) float64 {
	making, _ := contextMadeAndCancelled(n)
	return making
}

func contextCancelling(n int) float64 {
	_, cancelling := contextMadeAndCancelled(n)
	return cancelling
}
