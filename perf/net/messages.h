/* What goes over the wire in http-keepalive; messages.py and ../go/net.go say the same. */
#define REQUEST                                                                     \
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: gmpx-perf\r\nAccept: */*\r\n" \
    "Connection: keep-alive\r\n\r\n"
#define RESPONSE                                                                    \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n"     \
    "Hello, world!"
