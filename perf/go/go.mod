module gmpx/perf

go 1.25
