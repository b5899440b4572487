"""N requests of a slow server, 64 at once: RIVAL LIBRARY N PORT, LIBRARY being requests or urllib3.

Prints the wall and the CPU time as JSON. requests.get makes a connection for each request, as it
does wherever it is called so; urllib3 keeps them in a pool.
"""

import json
import sys
from time import perf_counter_ns, process_time_ns

from spawning import RIVALS

AT_ONCE = 64
EXPECTED = (200, b"Hello, world!")


def getter(library):
    """Returns what fetches a URL, by the library's most usual call."""
    if library == "requests":
        import requests

        def get(url):
            answer = requests.get(url)
            return answer.status_code, answer.content

        return get

    import urllib3

    pool = urllib3.PoolManager(maxsize=AT_ONCE, block=True)

    def get(url):
        answer = pool.request("GET", url)
        return answer.status, answer.data

    return get


def main():
    name, library, n, port = sys.argv[1:]
    rival = RIVALS[name]()
    get = getter(library)
    url = f"http://127.0.0.1:{port}/"
    get(url)  # what is imported by the first request, and read from the environment
    urls = [url] * int(n)
    wall, cpu = perf_counter_ns(), process_time_ns()
    answers = rival.map(get, urls, AT_ONCE)
    wall, cpu = perf_counter_ns() - wall, process_time_ns() - cpu
    if answers != [EXPECTED] * len(urls):
        raise AssertionError(f"{sum(a != EXPECTED for a in answers)} wrong answers")
    print(json.dumps({"operations": len(urls), "wall_ns": wall, "cpu_ns": cpu}), flush=True)


if __name__ == "__main__":
    main()
