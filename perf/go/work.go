package main

import (
	"bytes"
	"slices"
	"syscall"
	"time"
)

// The numbers of ../workers/work.py.
const (
	cpuSteps       = 10_000
	block1M        = 1 << 20
	block16K       = 1 << 14
	lockRounds     = 100
	selectValues   = 10_000
	selectRounds   = 200
	timerRounds    = 1000
	naps           = 10
	napTime        = time.Millisecond
	ticks          = 20
	tickerTime     = 5 * time.Millisecond
	serviceWorkers = 200
	serviceSteps   = 100
	serviceSleep   = time.Millisecond
	fanOutDegree   = 10
	tickEvery      = time.Millisecond
)

// steps is the work that the Python rivals do in pure Python.
func steps(x, count int) int {
	for range count {
		x = (x*1103515245 + 12345) & 0x7FFFFFFF
	}
	return x
}

// sumOfSteps gives the sum of steps(i, count) for i < n: all those steps are one affine map.
func sumOfSteps(n, count int) int {
	offset := steps(0, count)
	slope := steps(1, count) - offset
	sum := 0
	for i := range n {
		sum += (slope*i + offset) & 0x7FFFFFFF
	}
	return sum
}

func blockOf(size int) []byte { return bytes.Repeat([]byte{0xA5}, size) }

// nap gives how long sleeper i sleeps: neighbours wake far apart.
func nap(i int) time.Duration { return time.Duration(50+i*7919%100) * time.Millisecond }

// far gives how far off timer i is that never fires: neighbours are far apart.
func far(i int) time.Duration { return time.Duration(1_000_000+i*7919%100_003) * time.Millisecond }

// sieveWork gives the n-th prime, and how many values go through channels until it is found:
// k for each number whose least divisor is the k-th prime.
func sieveWork(n int) (last, hops int) {
	for limit := 16; ; limit *= 2 {
		place := make([]int, limit) // of the least divisor among the primes
		primes := 0
		for i := 2; i < limit; i++ {
			if place[i] != 0 {
				continue
			}
			primes++
			for j := i; j < limit; j += i {
				if place[j] == 0 {
					place[j] = primes
				}
			}
			if primes == n {
				last = i
			}
		}
		if primes < n {
			continue
		}
		for m := 2; m <= last; m++ {
			hops += place[m]
		}
		return last, hops
	}
}

func percentile(values []time.Duration, part float64) float64 {
	slices.Sort(values)
	place := int(float64(len(values)) * part)
	if float64(place) == float64(len(values))*part {
		place--
	}
	return float64(values[max(place, 0)].Nanoseconds())
}

// cpuTime gives the time that all threads of this process have run.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err.Error())
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
