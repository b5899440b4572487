#!/usr/bin/env python3
"""SHA-256 of every file below a directory, by the processes of a cluster: checksum_tree.py on many machines.

The code that hashes is checksum_tree.py's. On one machine `gmpx.imap` calls it; over a cluster
`gmpx.cluster.imap` does, with the same arguments and one more: the client. Without --scheduler the cluster is
this machine's cores; with it, every worker has to see the tree under the same path.

    checksum_cluster.py --one DIRECTORY             one process
    checksum_cluster.py -n 4 DIRECTORY              four, started here
    checksum_cluster.py --scheduler tcp://host:8786 DIRECTORY

Writes a manifest for `sha256sum -c` to standard output.
"""

import argparse
import contextlib
import sys
import time

import gmpx
from gmpx import cluster

import checksum_tree
from checksum_tree import EXIT_OK, EXIT_UNREADABLE, count, describe, hash_file, manifest_line, size_text

LIMIT = 16  # files open at once, in each process


def digests(files, client=None):
    """Yields a Digest for each file, in their order."""
    if client is None:
        return gmpx.imap(hash_file, files, limit=LIMIT)
    return cluster.imap(client, hash_file, files, limit=LIMIT, progress=sys.stderr.isatty())


@contextlib.contextmanager
def client_for(arguments):
    """The client of a cluster, or None for this process alone."""
    if arguments.one:
        yield None
        return
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        sys.exit("a cluster needs distributed: pip install 'gmpx[dask]'")
    import cloudpickle

    cloudpickle.register_pickle_by_value(checksum_tree)  # workers elsewhere do not have that file
    if arguments.scheduler:
        with Client(arguments.scheduler) as client:
            yield client
        return
    workers = arguments.n or gmpx.gomaxprocs()
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as local,
        Client(local) as client,
    ):
        yield client


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--one", action="store_true", help="this process alone")
    where.add_argument("-n", type=int, metavar="N", help="so many processes (default: one for each core)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="the workers of this Dask scheduler")
    arguments = parser.parse_args()

    tree = checksum_tree.scan(arguments.directory)
    errors = list(tree.errors)
    size = 0
    with client_for(arguments) as client:
        begin = time.perf_counter()
        for digest in digests(tree.files, client):
            if digest.error is not None:
                errors.append(digest.error)
                continue
            size += digest.size
            sys.stdout.buffer.write(manifest_line(digest))
        took = time.perf_counter() - begin
    sys.stdout.flush()
    for error in errors:
        print(describe(error), file=sys.stderr)
    print(f"{count(len(tree.files), 'file')}, {size_text(size)} in {took:.3f} s", file=sys.stderr)
    return EXIT_UNREADABLE if errors else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
