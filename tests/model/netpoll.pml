/* A goroutine that waits for a descriptor: no event is lost (NP1, NP2, NP5, NP7, SK2, N3 with NOTE_NETPOLL, W7).
 *
 * Models    sock_read, sock_wait (rt/io/socket.pxi); net_wait, net_arm, pd_watch, net_count, net_poll,
 *           net_event, pd_take, net_sleep, net_ready (rt/io/netpoll.pxi); find_runnable's look, stop_m's
 *           sleep (m_sleep_begin, the look at the inbox, m_sleep), wake_m; sysmon_main, late_pollers,
 *           first_timer, sysmon_net.
 * World     A reader on M reads until it has SENDS bytes and the end. The peer sends them one by one and
 *           closes. CANCEL: somebody cancels one wait, at any moment; the reader then tries again. BUSY:
 *           somebody readies another goroutine of M, which computes for ever, so that M looks nowhere any
 *           more. sysmon looks into M's poller where it has to.
 * Kernel    Edge-triggered: `edge` puts the descriptor on the poller's list, when it is registered with
 *           something there and at whatever comes later. Who collects it is told what is there then, or
 *           nothing if that has gone. A read takes all that is there, and returns less than it asked for.
 * Abstract  One descriptor, one waiter; the eventfd is a flag; time is up whenever it matters. The asymmetric
 *           barrier between sysmon and the rest is sysmon.pml's.
 * Memory    Sequentially consistent.
 * Claim     When nothing moves any more the reader has all, or M computes and the reader is ready.
 */
#ifndef SENDS
#define SENDS 2
#endif

byte data, sent, got;
bool fin, edge, registered, broken;     /* the kernel's */
bool lk, pd_read, pd_hup, pd_set, queued;
byte word;                              /* odd: parked */
bool cancelled, ready, inbox;
byte note_state = 1;
byte waiters;
bool polling, until_far, told, work, busy, eof, over;

inline lock()   { atomic { !lk -> lk = true } }
inline unlock() { lk = false }

inline park_win(w)
{
    atomic {
        if
        :: word == w && (w & 1) -> word = w + 1; won = true
        :: else -> won = false
        fi
    }
}

inline wake_m()
{
    atomic { was = note_state; note_state = 1 }
#ifndef BUG_NO_BREAK
    if
    :: was == 3 -> broken = true
    :: else
    fi
#endif
}

inline sysmon_net()
{
    if
    :: until_far -> told = true
    :: else
    fi
}

/* One descriptor's event, if it is still one: net_poll and net_event. `mine`: by M itself. */
inline collect(mine)
{
    atomic {
        hit = edge && (data > 0 || fin); hup = fin;
        edge = false;
        brk = broken; broken = false
    }
#ifndef BUG_BREAK_TAKEN
    if
    :: brk && !mine -> broken = true            /* NP7 */
    :: else
    fi;
#endif
    brk = false;
    if
    :: hit ->
        lock();
#ifdef BUG_FLAGS_APART
        pd_read = true;
        pd_hup = pd_hup || hup;
#else
        atomic {
#ifndef BUG_FLAG_FORGOTTEN
            pd_read = true;
#endif
            pd_hup = pd_hup || hup
        }
#endif
        won = false;
        if
        :: queued -> queued = false; seen = word; park_win(seen)
        :: else
        fi;
#ifdef BUG_FLAG_FORGOTTEN
        if                              /* an edge that nobody waits for is not remembered */
        :: won -> pd_read = true
        :: else
        fi;
#endif
        unlock();
        if
        :: won && mine -> ready = true
        :: won && !mine -> inbox = true; wake_m()
        :: else
        fi;
        won = false
    :: else
    fi;
    hit = false; hup = false; seen = 0
}

active proctype m()
{
    byte n, w, was, seen;
    bool e, f, won, hit, hup, brk;
reads:
    do
    :: eof -> break
    :: else ->
        if
        :: pd_set && !pd_read -> goto waits             /* SK2 */
        :: else
        fi;
attempt:
        f = pd_set;
#ifndef BUG_CLEAR_LATE
        if
        :: f -> pd_read = false
        :: else
        fi;
#endif
        atomic { n = data; data = 0; e = fin }
#ifdef BUG_CLEAR_LATE
        if
        :: f -> pd_read = false
        :: else
        fi;
#endif
        if
        :: n > 0 ->
            got = got + n;
#ifndef BUG_NO_HUP
            if
            :: f && pd_hup -> pd_read = true
            :: else
            fi
#endif
        :: n == 0 && e -> eof = true
        :: n == 0 && !e -> goto waits
        fi;
        n = 0; e = false; f = false
    od;
    goto done;
waits:
    n = 0; e = false; f = false;
#ifdef BUG_FLAG_UNLOCKED
    if
    :: pd_read -> goto attempt
    :: else
    fi;
    lock();
#else
    lock();
    if
    :: pd_read -> unlock(); goto attempt
    :: else
    fi;
#endif
    if
    :: !pd_set -> atomic { registered = true; edge = (data > 0 || fin) }; pd_set = true
    :: else
    fi;
#ifdef BUG_QUEUED_LATE
    unlock();
    lock();
#endif
    word++; queued = true;
    unlock();
    waiters++;
#ifndef BUG_WAITER_SILENT
    sysmon_net();
#endif
    do
    :: ready || inbox ->
        ready = false; inbox = false;
        waiters--;
        if
        :: cancelled -> cancelled = false; lock(); queued = false; unlock()
        :: else
        fi;
        goto reads
#ifdef BUSY
    :: work -> busy = true; goto done           /* computes for ever */
#endif
    :: edge && !ready && !inbox -> collect(true)            /* find_runnable's look */
    :: else ->
#ifdef BUG_INBOX_FIRST
        if
        :: inbox || work
        :: else ->
            note_state = 3;
#else
        note_state = 3;
        if
        :: inbox || work -> note_state = 1
        :: else ->
#endif
            polling = true;
            (edge || broken);
            collect(true);
#ifndef BUG_POLLING_KEPT
            polling = false;
#endif
            note_state = 1;
#ifndef BUG_WAKES_SILENT
            sysmon_net()
#endif
        fi
    od;
done:
    over = true
}

active proctype peer()
{
    do
    :: sent < SENDS -> atomic { data++; sent++; edge = registered }
    :: else -> break
    od;
    atomic { fin = true; edge = registered }
}

#ifdef BUSY
active proctype other()
{
    byte was;
    work = true;
    wake_m()
}
#endif

#ifdef CANCEL
active proctype canceller()
{
    byte w, was;
    bool won;
    w = word;
    if
    :: w & 1 ->
        park_win(w);
        if
        :: won -> cancelled = true; inbox = true; wake_m()
        :: else
        fi
    :: else
    fi
}
#endif

active proctype sysmon()
{
    byte was, seen;
    bool won, hit, hup, late, brk;
    do
    :: over && !busy -> break
    :: else ->
        if
        :: waiters > 0 && !polling -> collect(false)
        :: else
        fi;
#ifdef BUG_UNTIL_LATE
        late = waiters > 0 && !polling;
        until_far = true;
#else
        until_far = true;
        late = waiters > 0 && !polling;
#endif
        if
        :: late -> until_far = false; (edge || told || polling || waiters == 0 || (over && !busy))
        :: else -> (told || (over && !busy))
        fi;
        told = false;
        until_far = false
    od
}

active proctype claim()
{
    timeout;
    assert(got == SENDS && eof || busy && (ready || inbox || !(word & 1)) || busy && !queued);
    assert(!(word & 1) || busy && !edge && data == 0 && !fin)
}
