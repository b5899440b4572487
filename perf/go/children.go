package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"sync"
	"time"
)

// The cases of children, which ../net/sample.py runs:
//
//	perf net children N    runs N children, 8 at once
//	perf net pipe-read N   reads N MiB from a child
//	perf net pipe-write N  writes N MiB to a child

const (
	childrenAtOnce = 8
	piece          = 1 << 20
)

func children(n int) int {
	places := make(chan struct{}, childrenAtOnce)
	var group sync.WaitGroup
	for range n {
		places <- struct{}{}
		group.Go(func() {
			check(exitCode(exec.Command("/bin/true")), 0)
			<-places
		})
	}
	group.Wait()
	return n
}

func exitCode(command *exec.Cmd) int {
	if err := command.Run(); err != nil {
		fail(err.Error())
	}
	return command.ProcessState.ExitCode()
}

func pipeRead(n int) int {
	command := exec.Command("dd", "if=/dev/zero", "bs="+strconv.Itoa(piece), "count="+strconv.Itoa(n), "status=none")
	out := must(command.StdoutPipe())
	if err := command.Start(); err != nil {
		fail(err.Error())
	}
	buffer := make([]byte, piece)
	got := 0
	for {
		length, err := out.Read(buffer)
		got += length
		if err != nil {
			break
		}
	}
	if err := command.Wait(); err != nil {
		fail(err.Error())
	}
	return got / piece
}

func pipeWrite(n int) int {
	command := exec.Command("dd", "of=/dev/null", "bs="+strconv.Itoa(piece), "status=none")
	in := must(command.StdinPipe())
	if err := command.Start(); err != nil {
		fail(err.Error())
	}
	buffer := make([]byte, piece)
	done := 0
	for range n {
		done += must(in.Write(buffer))
	}
	in.Close()
	if err := command.Wait(); err != nil {
		fail(err.Error())
	}
	return done / piece
}

func childrenCase(name string, n int) {
	run := map[string]func(int) int{
		"children": children, "pipe-read": pipeRead, "pipe-write": pipeWrite,
	}[name]
	if run == nil {
		fail("no program " + name)
	}
	run(min(n, childrenAtOnce))
	before := cpuTime()
	start := time.Now()
	check(run(n), n)
	taken := time.Since(start)
	fmt.Printf("{\"wall_ns\": %d, \"cpu_ns\": %d}\n", taken.Nanoseconds(), (cpuTime() - before).Nanoseconds())
}
