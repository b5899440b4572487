// The Go rival: runs one program of the comparison and prints its figure.
//
// The arguments are those of every worker, see workers/harness.py:
//
//	perf PROGRAM N WARMUPS LEAST_MS
//	perf version
//	perf net ...              what net.go says
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

var programs = map[string]func(n int) float64{
	"fanout-buffered":      fanOutBuffered,
	"fanout-unbuffered":    fanOutUnbuffered,
	"pingpong":             pingPong,
	"hop-buffered":         hopBuffered,
	"hop-unbuffered":       hopUnbuffered,
	"contended-buffered":   contendedBuffered,
	"contended-unbuffered": contendedUnbuffered,
	"spawn-waitgroup":      spawnWaitGroup,
	"spawn-handles":        spawnHandles,
	"spawn-cold":           spawnWaitGroup,
	"map-calls":            mapCalls,
	"yield":                yield,
	"mutex-alone":          mutexAlone,
	"mutex-contended":      mutexContended,
	"waitgroup-alone":      waitGroupAlone,
	"waitgroup-contended":  waitGroupContended,
	"timers-sleeping":      timersSleeping,
	"sieve":                sieve,
	"skynet":               skynet,
	"parked":               parkedTime,
	"hash-1m":              hash1M,
	"hash-16k":             hash16K,
	"cpu-python":           cpu,
	"service":              service,
	"select-receive":       selectReceive,
	"select-plain":         selectPlain,
	"select-ready":         selectReady,
	"select-cases":         selectCases,
	"select-parking":       selectParking,
	"rwmutex-read":         rwMutexRead,
	"semaphore-alone":      semaphoreAlone,
	"once-done":            onceDone,
	"cond-pingpong":        condPingPong,
	"timers-start":         timersStart,
	"timers-stop":          timersStop,
	"timers-short":         timersShort,
	"timers-ticking":       timersTicking,
	"timers-firing":        timersFiring,
	"timeout-unused":       timeoutUnused,
	"cancel-parked":        cancelParked,
	"group-children":       groupChildren,
	"context-making":       contextMaking,
	"context-cancelling":   contextCancelling,
	"memory-timers":        memoryTimers,
	"memory-stopped":       memoryStopped,
	"latency-p50":          latency(0.5),
	"latency-p99":          latency(0.99),
	"latency-p999":         latency(0.999),
	"memory-parked":        memoryParked,
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Printf("%s, GOMAXPROCS %d\n", runtime.Version(), runtime.GOMAXPROCS(0))
		return
	}
	if len(os.Args) > 2 && os.Args[1] == "net" {
		network(os.Args[2:])
		return
	}
	if len(os.Args) != 5 {
		fail("usage: perf PROGRAM N WARMUPS LEAST_MS")
	}
	program, known := programs[os.Args[1]]
	if !known {
		fail("no program " + os.Args[1])
	}
	n, warmups, leastMS := number(os.Args[2]), number(os.Args[3]), number(os.Args[4])
	for range warmups {
		program(n)
	}
	sum, runs := 0.0, 0
	for start := time.Now(); ; {
		sum += program(n)
		runs++
		if time.Since(start) >= time.Duration(leastMS)*time.Millisecond {
			break
		}
	}
	fmt.Println(sum / float64(runs))
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		fail(err.Error())
	}
	return n
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, text)
	os.Exit(2)
}

// each gives the nanoseconds per operation since start.
func each(start time.Time, operations int) float64 {
	return float64(time.Since(start).Nanoseconds()) / float64(operations)
}

func check(got, want int) {
	if got != want {
		fail(fmt.Sprintf("wrong result: %d, expected %d", got, want))
	}
}
