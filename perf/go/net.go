package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The network's cases, which ../net/sample.py runs:
//
//	perf net serve KIND SIZE   prints its port and serves until it is ended
//	perf net waits N           N waits of a second
//	perf net names N           looks N names up
//	perf net burner SIZE MS    sends and receives beside a goroutine that computes
//	perf net secure KIND PEM N PORT    a client over TLS

const (
	response = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n" +
		"Hello, world!"
	leastBuffer = 4096
	waitTime    = time.Second
)

func network(arguments []string) {
	numbers := make([]int, 0, 2)
	for _, text := range arguments[1:] {
		if value, err := strconv.Atoi(text); err == nil {
			numbers = append(numbers, value)
		}
	}
	switch {
	case arguments[0] == "serve" && len(arguments) == 3 && len(numbers) == 1:
		serveConnections(arguments[1], numbers[0])
	case arguments[0] == "waits" && len(numbers) == 1:
		waits(numbers[0])
	case arguments[0] == "names" && len(numbers) == 1:
		names(numbers[0])
	case arguments[0] == "burner" && len(numbers) == 2:
		burner(numbers[0], time.Duration(numbers[1])*time.Millisecond)
	case arguments[0] == "secure" && len(arguments) == 5 && len(numbers) == 2:
		secure(arguments[1], arguments[2], numbers[0], numbers[1])
	case len(arguments) == 2 && len(numbers) == 1:
		childrenCase(arguments[0], numbers[0])
	default:
		fail("usage: perf net serve KIND SIZE | waits N | names N | burner SIZE MS | secure KIND PEM N PORT")
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		fail(err.Error())
	}
	return value
}

func serveConnections(kind string, size int) {
	handle := map[string]func(net.Conn, int){"echo": echo, "http": answerHTTP, "accept": shut}[kind]
	if handle == nil {
		fail("no kind " + kind)
	}
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	for {
		go handle(must(listener.Accept()), size)
	}
}

func shut(conn net.Conn, _ int) { conn.Close() }

func echo(conn net.Conn, size int) {
	defer conn.Close()
	buffer := make([]byte, max(size, leastBuffer))
	for {
		length, err := conn.Read(buffer)
		if err != nil {
			return
		}
		if _, err := conn.Write(buffer[:length]); err != nil {
			return
		}
	}
}

func answerHTTP(conn net.Conn, _ int) {
	defer conn.Close()
	var data []byte
	buffer := make([]byte, leastBuffer)
	for {
		length, err := conn.Read(buffer)
		if err != nil {
			return
		}
		data = append(data, buffer[:length]...)
		for {
			head, rest, whole := bytes.Cut(data, []byte("\r\n\r\n"))
			if !whole {
				break
			}
			line, _, _ := bytes.Cut(head, []byte("\r\n"))
			words := bytes.Split(line, []byte(" "))
			if len(words) != 3 || string(words[0]) != "GET" || string(words[1]) != "/" {
				return
			}
			data = rest
			if _, err := conn.Write([]byte(response)); err != nil {
				return
			}
		}
	}
}

// pair gives two connections that are one another's ends.
func pair() (net.Conn, net.Conn) {
	fds := must(syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0))
	var ends [2]net.Conn
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "pair")
		ends[i] = must(net.FileConn(file))
		file.Close()
	}
	return ends[0], ends[1]
}

// waits sleeps in every second goroutine; the others wait for what does not come.
func waits(n int) {
	ends := make([]net.Conn, n)
	for i := 1; i < n; i += 2 {
		other, end := pair()
		defer other.Close()
		ends[i] = end
	}
	var timeouts int
	var mutex sync.Mutex
	var group sync.WaitGroup
	start := time.Now()
	for _, end := range ends {
		group.Go(func() {
			if end == nil {
				time.Sleep(waitTime)
				return
			}
			end.SetReadDeadline(time.Now().Add(waitTime))
			_, err := end.Read(make([]byte, 1))
			if failed, ok := err.(net.Error); ok && failed.Timeout() {
				mutex.Lock()
				timeouts++
				mutex.Unlock()
			}
		})
	}
	time.Sleep(waitTime / 2)
	threads := threadCount()
	group.Wait()
	taken := time.Since(start)
	check(timeouts, n/2)
	fmt.Printf("{\"operations\": %d, \"wall_ns\": %d, \"threads\": %d}\n",
		n, taken.Nanoseconds(), threads)
}

// names looks up what ../net/names.py says, by Go's own resolver (GODEBUG=netdns=cgo: the C library).
func names(n int) {
	found := make([]net.IP, n)
	host := func(i int) string { return fmt.Sprintf("late-20.n%d.test", i) }
	var group sync.WaitGroup
	cpu, start := cpuTime(), time.Now()
	for i := range found {
		group.Go(func() {
			found[i] = must(net.DefaultResolver.LookupIP(context.Background(), "ip4", host(i)))[0]
		})
	}
	group.Wait()
	taken := time.Since(start)
	cpu = cpuTime() - cpu
	for i, ip := range found {
		sum := crc32.ChecksumIEEE([]byte(host(i)))
		wanted := net.IPv4(127, byte(sum>>16), byte(sum>>8), byte(sum)&127|1)
		if !ip.Equal(wanted) {
			fail("wrong address " + ip.String())
		}
	}
	fmt.Printf("{\"operations\": %d, \"wall_ns\": %d, \"cpu_ns\": %d}\n", n, taken.Nanoseconds(), cpu.Nanoseconds())
}

func threadCount() int {
	for line := range strings.Lines(string(must(os.ReadFile("/proc/self/status")))) {
		if text, found := strings.CutPrefix(line, "Threads:"); found {
			return number(strings.TrimSpace(text))
		}
	}
	return 0
}

func burner(size int, least time.Duration) {
	a, b := pair()
	go func() {
		for x := 1; ; x = (x*1103515245 + 12345) & 0x7FFFFFFF {
		}
	}()
	message, heard := make([]byte, size), make([]byte, size)
	for i := range message {
		message[i] = byte(i)
	}
	operations := 0
	start := time.Now()
	for time.Since(start) < least {
		must(a.Write(message))
		check(must(b.Read(heard)), size)
		operations++
	}
	taken := time.Since(start)
	if !bytes.Equal(message, heard) {
		fail("wrong bytes")
	}
	fmt.Printf("{\"operations\": %d, \"wall_ns\": %d}\n", operations, taken.Nanoseconds())
}
