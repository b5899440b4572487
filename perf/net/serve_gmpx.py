"""gmpx: blocking code, patched; a goroutine for each connection."""

import gmpx
import gmpx.patch

from blocking import HANDLERS, serve
from messages import arguments, listener, tell

if __name__ == "__main__":
    gmpx.patch.all()
    kind, size = arguments()
    listening = listener()
    tell(listening)
    serve(listening, HANDLERS[kind], size, gmpx.go)
