package main

import (
	"crypto/sha256"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// mapped calls f for each i < n in a goroutine of its own and gives the results in order.
func mapped[T any](n int, f func(i int) T) []T {
	results := make([]T, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { results[i] = f(i) })
	}
	wg.Wait()
	return results
}

func total(values []int) int {
	sum := 0
	for _, value := range values {
		sum += value
	}
	return sum
}

func mapCalls(n int) float64 {
	start := time.Now()
	squares := mapped(n, func(i int) int { return i * i })
	taken := each(start, n)
	check(total(squares), (n-1)*n*(2*n-1)/6)
	return taken
}

func mutexAlone(n int) float64 {
	var mutex sync.Mutex
	count := 0
	start := time.Now()
	for range n {
		mutex.Lock()
		count++
		mutex.Unlock()
	}
	taken := each(start, n)
	check(count, n)
	return taken
}

func mutexContended(n int) float64 {
	var mutex sync.Mutex
	var wg sync.WaitGroup
	count := 0
	start := time.Now()
	for range n {
		wg.Go(func() {
			for range lockRounds {
				mutex.Lock()
				value := count
				runtime.Gosched()
				count = value + 1
				mutex.Unlock()
			}
		})
	}
	wg.Wait()
	taken := each(start, n*lockRounds)
	check(count, n*lockRounds)
	return taken
}

func waitGroupAlone(n int) float64 {
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Add(1)
		wg.Done()
		wg.Wait()
	}
	return each(start, n)
}

func waitGroupContended(n int) float64 {
	var left, waiters sync.WaitGroup
	var woken atomic.Int64
	start := time.Now()
	left.Add(n)
	for range n {
		waiters.Go(func() {
			left.Wait()
			woken.Add(1)
		})
	}
	for range n {
		go func() {
			runtime.Gosched()
			left.Done()
		}()
	}
	waiters.Wait()
	taken := each(start, n)
	check(int(woken.Load()), n)
	return taken
}

func timersSleeping(n int) float64 {
	var wg sync.WaitGroup
	start := cpuTime()
	for i := range n {
		wg.Go(func() { time.Sleep(nap(i)) })
	}
	wg.Wait()
	return float64((cpuTime() - start).Nanoseconds()) / float64(n)
}

func hashing(n, size int) float64 {
	block := blockOf(size)
	digest := sha256.Sum256(block)
	start := time.Now()
	digests := mapped(n, func(int) [sha256.Size]byte { return sha256.Sum256(block) })
	taken := each(start, n)
	right := 0
	for _, got := range digests {
		if got == digest {
			right++
		}
	}
	check(right, n)
	return taken
}

func hash1M(n int) float64  { return hashing(n, block1M) }
func hash16K(n int) float64 { return hashing(n, block16K) }

func cpu(n int) float64 {
	start := time.Now()
	results := mapped(n, func(i int) int { return steps(i, cpuSteps) })
	taken := each(start, n)
	check(total(results), sumOfSteps(n, cpuSteps))
	return taken
}

func service(n int) float64 {
	start := time.Now()
	requests, answers := make(chan int, contendedSlots), make(chan int, contendedSlots)
	for range serviceWorkers {
		go func() {
			for request := range requests {
				answer := steps(request, serviceSteps)
				time.Sleep(serviceSleep)
				answers <- answer
			}
		}()
	}
	go feed(requests, n)
	sum := 0
	for range n {
		sum += <-answers
	}
	taken := each(start, n)
	check(sum, sumOfSteps(n, serviceSteps))
	return taken
}

func latency(part float64) func(n int) float64 {
	return func(ticks int) float64 {
		start := time.Now().Add(tickEvery)
		late := make([]time.Duration, ticks)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for k := range late {
				due := start.Add(time.Duration(k) * tickEvery)
				time.Sleep(time.Until(due))
				late[k] = time.Since(due)
			}
		}()
		end := start.Add(time.Duration(ticks) * tickEvery)
		go func() {
			for time.Now().Before(end) {
			}
		}()
		<-done
		return percentile(late, part)
	}
}
