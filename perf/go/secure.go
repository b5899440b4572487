package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// secure is ../net/secure.py's handshakes and bulk.
func secure(kind, pem string, n, port int) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(must(os.ReadFile(pem))) {
		fail("no certificate in " + pem)
	}
	config := &tls.Config{RootCAs: roots, ServerName: "localhost"}
	dial := func() *tls.Conn {
		return must(tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), config))
	}
	var wall time.Time
	var cpu time.Duration
	switch kind {
	case "handshakes":
		dial().Close()
		limit := make(chan bool, 64)
		var group sync.WaitGroup
		wall, cpu = time.Now(), cpuTime()
		for range n {
			limit <- true
			group.Go(func() {
				dial().Close()
				<-limit
			})
		}
		group.Wait()
	case "bulk":
		conn := dial()
		wall, cpu = time.Now(), cpuTime()
		buffer := make([]byte, 1<<16)
		got := 0
		for {
			m, err := conn.Read(buffer)
			got += m
			if err == io.EOF {
				break
			}
			must(m, err)
		}
		check(got, n)
		conn.Close()
	default:
		fail("no kind " + kind)
	}
	fmt.Printf("{\"operations\": %d, \"wall_ns\": %d, \"cpu_ns\": %d}\n",
		n, time.Since(wall).Nanoseconds(), (cpuTime() - cpu).Nanoseconds())
}
