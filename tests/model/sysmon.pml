/* Timers: each M's heap, its own sleep, and sysmon (W3, T4, T5).
 *
 * Models    timer_add, timers_batch, timers_note_first (rt/sched/timers.pxi); m_dozes, m_wakes,
 *           stop_m, sleep_until, start_any, wake_p (rt/sched/sleep.pxi); sysmon_timer, sysmon_wake,
 *           sysmon_main, sysmon_look, first_timer, late_timers (rt/sched/sysmon.pxi); find_work
 *           (rt/sched/proc.pxi); node_fire, timers_deliver (rt/sync/timer.pxi); m_free, m_alloc
 *           (rt/sched/machine.pxi); gm_barrier_light, gm_barrier_heavy (rt/platform/barrier.h).
 * World     M0, a worker, adds a timer for 2 and perhaps one for 1, then stands for ever or sleeps;
 *           a thread readies a G of it, and that may stand.
 *           NODES: M1 is a foreign thread's, which never looks: it adds nodes for 1 and 2, which
 *           somebody has to deliver. M2, a worker, sleeps; M3 is started when it is wanted.
 *           Somebody queues a G, which M2 is woken for, and which may stand.
 *           ENDS: the foreign thread adds one node and ends, and a worker begins on its M.
 *           NAPS: something is queued, so many times: sysmon naps for 1 then, at most, without a barrier.
 * Abstract  Times are 0 to 4; a worker that is awake has its timers to itself for LATE more. The clock
 *           moves at any moment, FREE times, else when nothing else does. That sysmon looks every
 *           LOOK_NS while it is armed is left out, but for the sake of what is undelivered: then it
 *           looks as soon as nobody spins. A heap's lock is held for one step. Ps are sleep.pml's.
 * Memory    next_when and sleeps stay in their writer's store buffer until they come out by
 *           themselves, by an atomic of that thread, by the next holder of the heap's lock, or by the
 *           heavy barrier. All else is sequentially consistent.
 * Claim     Whenever nothing but the clock moves: each timer that is due is fired, of an M that stands
 *           LATE later; none has been fired twice; what has fired is delivered; no M sleeps with
 *           something in its inbox; nmspinning is 0. While sysmon naps a timer that it has missed may be
 *           late, no longer than the nap.
 * Once so   BUG_UNDELIVERED_QUIET: sysmon, having fired a node while an M spins, left it to that M and
 *           slept for good; but the M had looked at `undelivered` before, took a G and stood.
 * Coarser   An M that wakes tells sysmon of its first timer also when that is due; the code leaves that
 *           out, since the M fires it next, and tells of those that remain (timers_batch).
 */
#define INF  9
#define END  4
#define LATE 1
#define NM   4
#define S    4                  /* sysmon's note */
#define NT   4
#ifndef FREE
#define FREE 2
#endif

#ifdef NAPS
byte naps = NAPS;
bool napping;
#else
#define napping false
#endif

#define WORKER 0
#define OTHER  1                /* M_FOREIGN, M_DEAD */

byte note_state[NM + 1] = 1, sem[NM + 1], inbox[NM], kind[NM];
bool asleep[NM], stands[NM], midle[NM], spinning[NM], started, ended;
byte nw[NM] = INF, v_nw[NM] = INF;              /* next_when: as its M sees it, as others do */
bool sl[NM], v_sl[NM];                          /* sleeps */
bool heap[NT];                                  /* timers 0 and 1 are M0's, 2 and 3 M1's */
byte fired[NT], list, delivered;
bool undelivered;
byte nmspinning, glob, now, s_until;

#define WHEN(t)  (2 - (t) % 2)                  /* 2, 1, 2, 1 */
#define DUE(t, at) (heap[t] && WHEN(t) <= (at))
#define TOLD(m, w) ((w) + (kind[m] == WORKER -> LATE : 0))      /* timer_late */

inline flush(x)
{
    if
    :: x < NM -> v_nw[x] = nw[x]; v_sl[x] = sl[x]
    :: else
    fi
}

inline wake_m(x)
{
    atomic {
        flush(me);
        if
        :: note_state[x] == 0 -> note_state[x] = 1; post = true
        :: else -> post = false
        fi
    }
    d_step {
        if
        :: post -> assert(sem[x] == 0); sem[x]++; post = false
        :: else
        fi
    }
}

inline m_sleep_begin(x) { atomic { note_state[x] = 0; assert(sem[x] == 0) } }

inline m_sleep_cancel(x)
{
    atomic {
        if
        :: note_state[x] == 0 -> note_state[x] = 1; post = false
        :: else -> post = true
        fi
    }
    atomic {
        if
        :: post -> sem[x] > 0; sem[x]--; post = false
        :: else
        fi
    }
}

/* ---- heaps ------------------------------------------------------------------------------ */

inline note_first(m)            /* under the lock: what its last holder wrote is out */
{
    if
    :: heap[2 * m + 1] -> nw[m] = WHEN(1)
    :: !heap[2 * m + 1] && heap[2 * m] -> nw[m] = WHEN(0)
    :: else -> nw[m] = INF
    fi
}

inline fire(t)
{
    if
    :: DUE(t, at) -> heap[t] = false; fired[t]++; assert(fired[t] == 1); n++
    :: else
    fi
}

inline timers_batch(m)          /* by me, at `at` */
{
    atomic {
        n = 0;
        flush(m);
        fire(2 * m); fire(2 * m + 1);
        note_first(m);
        if
        :: me != m -> v_nw[m] = nw[m]           /* the lock goes back to m: it is out */
        :: else
        fi;
        if
        :: m == 1 && n > 0 -> list = list + n; undelivered = true; n = 0
        :: m == 0 && n > 0 && me != m -> inbox[m]++
        :: else -> n = 0        /* its own: it runs them */
        fi
    }
    if
    :: n > 0 -> n = 0; wake_m(m)
    :: else
    fi
}

inline sysmon_wake() { atomic { flush(me); s_until = 0 } wake_m(S) }

inline sysmon_timer(w)          /* the light barrier costs nothing here */
{
    if
    :: TOLD(me, w) < s_until -> sysmon_wake()
    :: else
    fi
}

inline timer_add(t)
{
#ifdef BUG_UNTIL_FIRST
    seen = s_until;
    atomic { heap[t] = true; nw[me] = (WHEN(t) < nw[me] -> WHEN(t) : nw[me]) }
    if
    :: TOLD(me, WHEN(t)) < seen -> sysmon_wake()
    :: else
    fi;
    seen = 0
#else
    atomic {
        heap[t] = true;
        seen = (WHEN(t) < nw[me]);
        if
        :: seen -> nw[me] = WHEN(t)
        :: else
        fi
    }
    if
    :: seen -> sysmon_timer(WHEN(t))
    :: else
    fi;
    seen = 0
#endif
}

inline timers_deliver()
{
#ifdef BUG_LOWER_LATE
    d_step { delivered = delivered + list; list = 0 }
    undelivered = false
#else
    undelivered = false;
    d_step { delivered = delivered + list; list = 0 }
#endif
}

/* ---- Ms --------------------------------------------------------------------------------- */

inline m_wakes()
{
#ifdef BUG_SLEEPS_LATE
    if
    :: nw[me] != INF -> sysmon_timer(nw[me])
    :: else
    fi;
    sl[me] = false
#else
#ifndef BUG_SLEEPS_KEPT
    sl[me] = false;
#endif
#ifndef BUG_WAKES_SILENT
    if
    :: nw[me] != INF -> sysmon_timer(nw[me])
    :: else
    fi
#endif
#endif
}

inline give(x)
{
    if
    :: !got && midle[x] -> midle[x] = false; spinning[x] = true; got = true; wake_m(x)
    :: else
    fi
}

inline start_any()
{
    atomic {
        nmspinning++;
        got = false;
        give(2); give(0); give(1); give(3);
        if
        :: !got && !started -> started = true; spinning[3] = true
        :: !got && started -> nmspinning--
        :: else
        fi;
        got = false
    }
}

inline spin_end()
{
    atomic {
        if
        :: spinning[me] -> spinning[me] = false; nmspinning--
        :: else
        fi
    }
}

proctype M(byte me)
{
    byte until, seen, n, at;
    bool post, got;
    if
    :: me == 0 ->
        timer_add(0);
#ifndef BUG_DEADLINE_FIRST
        if
        :: timer_add(1)
        :: true
        fi;
#endif
        if
        :: stands[me] = true; goto standing
        :: true
        fi
    :: me == 1 -> ended         /* ENDS */
    :: me == 3 -> started
    :: else
    fi;

find_work:
    if
    :: inbox[me] > 0 ->
        inbox[me] = 0;
        spin_end();
        if
        :: stands[me] = true; goto standing
        :: true
        fi
    :: else
    fi;
    if
    :: nw[me] <= now -> at = now; timers_batch(me); at = 0
    :: else
    fi;
    if
    :: undelivered -> timers_deliver(); goto find_work
    :: else
    fi;
    if
    :: glob > 0 && spinning[me] ->              /* look_around */
        glob--;
        spin_end();
        if
        :: me != 3 -> stands[me] = true; goto standing
        :: true
        fi
    :: else
    fi;

    m_sleep_begin(me);                          /* stop_m */
    atomic { flush(me); spin_end(); midle[me] = true }
#ifdef BUG_DEADLINE_FIRST
    until = nw[me];
    if
    :: me == 0 && fired[1] == 0 && !heap[1] && now == 0 -> timer_add(1)
    :: true
    fi;
    sl[me] = true;
#else
    sl[me] = true;                              /* m_dozes */
    until = nw[me];
#endif
    if
    :: inbox[me] > 0 || undelivered -> m_sleep_cancel(me)
    :: else ->
        asleep[me] = true;
        if
        :: atomic { sem[me] > 0 -> sem[me]--; asleep[me] = false }
        :: atomic { now >= until -> asleep[me] = false } m_sleep_cancel(me)
        fi
    fi;
    until = 0;
    m_wakes();
    atomic { flush(me); midle[me] = false }
    goto find_work;

standing:
    false
}

proctype Foreign()              /* M1 */
{
    byte me = 1, seen;
    bool post;
    timer_add(3);               /* for 1 */
#ifdef NODES
    timer_add(2);
#endif
#ifdef ENDS
    atomic { flush(me); sl[me] = false; kind[me] = OTHER }      /* m_free */
    atomic { ended = true; kind[me] = WORKER }                  /* m_alloc, another thread */
    m_wakes()                   /* the old thread's */
#endif
}

proctype Readier()
{
    byte me = NM;
    bool post;
    inbox[0]++;
    wake_m(0)
}

proctype Spawner()              /* newproc_foreign, wake_p */
{
    byte me = NM;
    bool post, got;
    glob++;
    atomic {
        if
        :: nmspinning == 0 && midle[2] -> nmspinning = 1; give(2)
        :: else
        fi
    }
}

proctype Buffers()
{
    byte x;
    do
    :: atomic { v_nw[0] != nw[0] -> v_nw[0] = nw[0] }
    :: atomic { v_nw[1] != nw[1] -> v_nw[1] = nw[1] }
    :: atomic { v_sl[0] != sl[0] -> v_sl[0] = sl[0] }
    :: atomic { v_sl[1] != sl[1] -> v_sl[1] = sl[1] }
    od
}

/* ---- sysmon ----------------------------------------------------------------------------- */

inline first_timer(m)
{
    d_step {
        if
        :: v_nw[m] != INF && !v_sl[m] && TOLD(m, v_nw[m]) < until -> until = TOLD(m, v_nw[m])
        :: else
        fi
    }
}

inline late_timer(m)
{
    if
    :: v_nw[m] != INF && !v_sl[m] && TOLD(m, v_nw[m]) <= at -> timers_batch(m)
    :: else
    fi
}

active proctype Sysmon()
{
    byte me = S, until, at, n;
    bool post, got;
    bool before;                /* the last look was a nap's */
    do
    :: true ->
        m_sleep_begin(S);
        at = now;
        late_timer(0);
        late_timer(1);
        at = 0;
        if
        :: undelivered && nmspinning == 0 -> start_any()
        :: else
        fi;
        until = INF;
        first_timer(0);
        first_timer(1);
#ifdef NAPS
#ifdef BUG_NAP_ENOUGH
        before = napping;
#endif
        if
        :: atomic {
                naps > 0 -> naps--; napping = true;
                until = (until > now + 1 -> now + 1 : until)
            }
        :: napping = false
        fi;
#endif
#ifndef BUG_UNTIL_LATE
        s_until = until;
#endif
#ifndef BUG_NO_HEAVY
        if
        :: napping || before
        :: else -> atomic { flush(0); flush(1) }
        fi;
#endif
#ifndef BUG_LOOK_ONCE
        first_timer(0);
        first_timer(1);
#endif
#ifdef BUG_UNTIL_LATE
        s_until = until;
#endif
        if
        :: atomic { sem[S] > 0 -> sem[S]-- }
        :: now >= until -> m_sleep_cancel(S)
#ifndef BUG_UNDELIVERED_QUIET
        :: undelivered && nmspinning == 0 -> m_sleep_cancel(S)
#endif
        fi;
        s_until = 0
    od
}

init {
    byte i, free = FREE;
    atomic {
        kind[1] = OTHER;
        run Buffers();
#if !defined(NODES) && !defined(ENDS)
        run M(0); run Readier();
#else
        run Foreign(); run M(3);
#endif
#ifdef NODES
        run M(2); run Spawner();
#endif
#ifdef ENDS
        run M(1);
#endif
    }
    do
    :: free > 0 && now < END -> atomic { free--; now++ }
    :: free > 0 -> free = 0
    :: timeout ->
        d_step {
            assert(napping || (!DUE(0, now - (stands[0] -> LATE : 0)) && !DUE(1, now - (stands[0] -> LATE : 0))));
            assert(napping || (!DUE(2, now) && !DUE(3, now)));
            assert(!napping || s_until <= now + 1);
            assert(list == 0 && !undelivered && nmspinning == 0);
            for (i : 0 .. NM - 1) { assert(!asleep[i] || inbox[i] == 0) }
        }
        if
        :: now < END -> now++
        :: else -> break
        fi
    od;
    assert(delivered == fired[2] + fired[3] && !heap[0] && !heap[1] && !heap[2] && !heap[3])
}
