/* How Ms sleep and are woken, on a free-threaded build (W1, W2, W4, W5, N1..N3).
 *
 * Models    stop_m, recheck_runqs, wake_p, start_m, give_p, wake_m, mput, midle_remove, m_awake,
 *           m_sleep_begin, m_sleep_cancel, m_sleep (rt/sched/sleep.pxi); policy_spawned,
 *           policy_queued, policy_spins, policy_found (rt/sched/policy.pxi); new_m, m_start, pid_get,
 *           pid_put, put_back, p_drain, release_p, await_p, hand_over_p, change_p (rt/sched/machine.pxi);
 *           schedule, find_runnable, find_work, look_around, spin_end (rt/sched/proc.pxi);
 *           note_clear, note_wakeup, note_cancel, note_sleep (rt/platform/note.pxi); runq_put_slow
 *           (rt/sched/runq.pxi), newproc_publish, newproc_foreign, goready.
 *           (Hot times and placed code are the GIL's: gil.pml.)
 * World     Two regular Ps. M0 starts with P0, M1 runs or sleeps without a P, M2 is a thread that
 *           new_m may start, or fail to start. M0 spawns a G (TWO: two; the second may overflow
 *           to the global queue, with the first) and then computes for ever or schedules; one
 *           G may run for ever; NESTED: one may spawn another. FOREIGN: a thread puts a G on the
 *           global queue. READIER: a thread readies a G of M1; HANDOVER: and an M that runs
 *           Gs may hand its P to an M that waits for one.
 * Abstract  Rings and queues are counters (rt/sched/runq.pxi: runq.pml), a steal takes one G. midle is
 *           a list searched from M0 on. The time that await_p waits before it takes a spare P is up at
 *           any moment. A round of look_around is one visit. sysmon, which a free-threaded
 *           build has for timers alone, is sysmon.pml's. Stopping is left out.
 * Memory    Sequentially consistent, but for the two stores that a look follows: runq_put's
 *           before wake_p, note_clear's before the look at the inbox. What their fences forbid is
 *           modelled by the store that lands after the look (BUG_NO_FENCE, BUG_PLAIN_CLEAR).
 *           Other weak orders are not claimed here: tests/native runs the code under TSan.
 * Claim     However it goes, when nothing moves any more: no M sleeps with a G in its inbox;
 *           none sleeps while a P is idle and a fresh G is queued; nobody waits for the lock, or for
 *           a P; nmspinning is 0, and never less; each P is idle or held by one M. (Run with -E: a
 *           deadlock is a state in which nothing moves and some M neither sleeps nor computes.)
 * Once so   BUG_NEW_M_COUNTED: an M that began with its first G from local_next, in schedule, did not
 *           end its spinning. If that G never ended nobody was woken for work any more.
 */
#define NONE  9
#define SPARE 2                  /* the first of the Ps beyond gomaxprocs */
#define NP    4
#define NM    3

byte ring[NP], glob;            /* fresh Gs */
byte inbox[NM];
byte note_state[NM] = 1, sem[NM];
bool spinning[NM], midle[NM], started[NM];
byte nextp[NM] = NONE;
bool pidle[2];
byte npidle, nmidle, nmspinning, holders[NP];
bool pwaiting[NM];
#ifdef NESTED
byte spawns = 1;
#else
byte spawns = 0;
#endif
byte endless = 1;
bool lk, asleep[NM], busy[NM], over;

inline lock()   { atomic { !lk -> lk = true } }
inline unlock() { lk = false }

inline wake_m(x)                /* note_wakeup: an exchange, then the post */
{
    atomic {
        if
        :: note_state[x] == 0 -> note_state[x] = 1; post = true
        :: else -> post = false
        fi
    }
    d_step {
        if
        :: post -> assert(sem[x] == 0); sem[x]++; post = false      /* N2 */
        :: else
        fi
    }
}

inline m_sleep_cancel()
{
    atomic {
        if
        :: note_state[me] == 0 -> note_state[me] = 1; post = false
        :: else -> post = true
        fi
    }
    atomic {
        if
        :: post -> sem[me] > 0; sem[me]--; post = false
        :: else
        fi
    }
}

inline pid_get(to)
{
    atomic {
        if
        :: pidle[0] -> pidle[0] = false; to = 0; npidle--
        :: !pidle[0] && pidle[1] -> pidle[1] = false; to = 1; npidle--
        :: else -> to = NONE
        fi
    }
}

inline pid_put(x) { atomic { assert(!pidle[x]); pidle[x] = true; npidle++ } }

inline acquire_p(x) { p = x; holders[x]++; assert(holders[x] == 1) }

inline spare_p(to)              /* under the lock; on its way it counts as held */
{
    atomic {
        if
        :: holders[SPARE] == 0 && nextp[0] != SPARE && nextp[1] != SPARE && nextp[2] != SPARE ->
            to = SPARE
        :: else -> to = SPARE + 1; assert(holders[SPARE + 1] == 0)
        fi
    }
}

inline put_back(x)
{
    atomic {
        if
        :: x < SPARE -> pid_put(x)
        :: else -> glob = glob + ring[x]; ring[x] = 0           /* p_drain */
        fi
    }
}

inline release_p() { atomic { holders[p]--; put_back(p); p = NONE } }

inline mput() { atomic { midle[me] = true; nmidle++ } }

inline m_awake()                /* under the lock */
{
    atomic {
        if
        :: midle[me] -> midle[me] = false; nmidle--
        :: else
        fi;
        if
        :: nextp[me] != NONE -> acquire_p(nextp[me]); nextp[me] = NONE
        :: else
        fi
    }
}

inline count_down() { d_step { assert(nmspinning > 0); nmspinning-- } }

inline give_p(x)                /* start_m's handing over, under the lock */
{
    atomic { midle[x] = false; nmidle--; nextp[x] = q; spinning[x] = true }
    wake_m(x);
}

inline wake_p()
{
    if
    :: npidle == 0 -> skip
    :: else ->
        atomic {
            if
            :: nmspinning == 0 -> nmspinning = 1; won = true
            :: else -> won = false
            fi
        }
        if
        :: !won -> skip
        :: else ->
            lock();
            pid_get(q);
            if
            :: q == NONE -> count_down(); unlock()
            :: else -> start_m()
            fi
        fi
    fi
}

inline start_m()
{
    if
    :: midle[0] -> give_p(0); unlock()
    :: midle[1] -> give_p(1); unlock()
    :: midle[2] -> give_p(2); unlock()
    :: nmidle == 0 ->
        unlock();
        atomic {                /* new_m */
            if
            :: !started[2] -> started[2] = true; nextp[2] = q; spinning[2] = true; q = NONE
            :: true        /* the limit, or no memory */
            fi
        }
        if
        :: q == NONE
        :: else ->
            lock();
#ifdef BUG_GIVE_BACK_LATE
            pid_put(q); unlock(); count_down()
#else
            if
            :: midle[0] -> give_p(0)
            :: midle[1] -> give_p(1)
            :: midle[2] -> give_p(2)
            :: nmidle == 0 -> pid_put(q); count_down()
            fi;
            unlock()
#endif
        fi
    fi;
    q = NONE
}

inline spin_end()
{
    if
    :: spinning[me] ->
        spinning[me] = false;
        atomic { count_down(); won = (nmspinning == 0) }
#ifndef BUG_NO_PASS_ON
        if
        :: won -> wake_p()
        :: else
        fi
#endif
    :: else
    fi
}

inline go_here()                /* newproc_publish */
{
#ifdef BUG_NO_FENCE
    if
    :: npidle == 0 || nmspinning != 0 -> ring[p]++      /* the looks come before the store */
    :: ring[p]++; wake_p()
    fi
#else
    if
    :: ring[p]++
    :: atomic { ring[p] > 0 -> ring[p]-- }              /* runq_put_slow: the older half, and it */
        lock(); glob = glob + 2; unlock()
    fi;
    wake_p()
#endif
}

inline execute()                  /* holding p */
{
    if
    :: atomic { spawns > 0 -> spawns-- } go_here()
    :: atomic { endless > 0 -> endless--; busy[me] = true } goto computes
    :: true
    fi
}

inline await_p()                /* W5 */
{
    lock();
    if
    :: npidle > 0 -> pid_get(q); acquire_p(q)
    :: else ->
        pwaiting[me] = true;
        do
        :: nextp[me] != NONE -> break
        :: else ->
            atomic { note_state[me] = 0; assert(sem[me] == 0) }
            unlock();
            if
            :: atomic { sem[me] > 0 -> sem[me]-- }
            :: m_sleep_cancel()         /* the time is up */
            fi;
            lock();
            if
            :: nextp[me] == NONE ->
                if
                :: npidle > 0 -> pid_get(q)
                :: else -> spare_p(q)
                fi;
                atomic { nextp[me] = q; pwaiting[me] = false }
            :: else
            fi
        od;
        m_awake()
    fi;
    q = NONE;
    unlock()
}

#ifdef HANDOVER
#define WAITS(x) (pwaiting[x])
#else
#define WAITS(x) false
#endif

inline hand_to(x) { atomic { pwaiting[x] = false; holders[p]--; nextp[x] = p; p = NONE } wake_m(x) }

inline change_p()               /* under the lock: a regular P, with what lies on the spare */
{
    pid_get(q);
    do
    :: atomic { got = false; take(ring[p]) };
        if
        :: got -> ring[q]++                                     /* until then it is on neither */
        :: else -> break
        fi
    od;
    release_p();
    acquire_p(q);
    q = NONE
}

inline hand_over_p()            /* the 61st tick */
{
    lock();
    if
    :: p >= SPARE && npidle > 0 -> change_p()
    :: p >= SPARE && npidle == 0 -> release_p()
    :: p < SPARE && WAITS(0) -> hand_to(0)
    :: p < SPARE && !WAITS(0) && WAITS(1) -> hand_to(1)
    :: p < SPARE && !WAITS(0) && !WAITS(1) && WAITS(2) -> hand_to(2)
    :: else
    fi;
    unlock();
    if
    :: p != NONE && ring[p] > 0 -> wake_p()                     /* p_changed */
    :: else
    fi;
    if
    :: glob > 0 -> wake_p()
    :: else
    fi
}

inline take(x) { atomic { if :: x > 0 -> x--; got = true :: else fi } }

inline recheck_runqs()          /* got: took a P and spins again */
{
    if
    :: ring[0] > 0 || ring[1] > 0 || ring[2] > 0 || ring[3] > 0 ->
        lock();
        m_awake();
        if
        :: p == NONE -> pid_get(q);
            if
            :: q != NONE -> acquire_p(q); q = NONE
            :: else
            fi
        :: else
        fi;
        if
        :: p != NONE ->
            unlock();
            m_sleep_cancel();
            if
#ifdef BUG_COUNT_TWICE
            :: true -> spinning[me] = true; nmspinning++
#else
            :: !spinning[me] -> spinning[me] = true; nmspinning++
            :: else
#endif
            fi;
            got = true
        :: else -> mput(); unlock()
        fi
    :: else
    fi
}

inline steal_from(x)
{
    if
    :: !got && x != p -> take(ring[x])
    :: else
    fi
}

proctype M(byte me; byte p)
{
    byte q = NONE, ready;
    bool post, won, got, was;
    if
    :: p != NONE ->             /* M0's own goroutine */
        go_here();
#ifdef TWO
        go_here();
#endif
        if
        :: busy[me] = true; goto computes
        :: true
        fi
    :: me == 2 ->               /* m_start: the first G is schedule's */
        lock(); m_awake(); unlock();
        take(ring[p]);
        if
        :: !got -> lock(); take(glob); unlock()
        :: else
        fi;
        if
        :: got ->
#ifndef BUG_NEW_M_COUNTED
            spin_end();
#endif
            execute()
        :: else
        fi
    :: else
    fi;

again:
    atomic { got = false; ready = ready + inbox[me]; inbox[me] = 0 }
    if
    :: p != NONE && (p >= SPARE || WAITS(0) || WAITS(1) || WAITS(2)) ->
        if
        :: hand_over_p()
        :: true
        fi
    :: else
    fi;
    if
    :: ready > 0 ->
        spin_end();
        if
        :: p == NONE -> await_p()
        :: else
        fi;
        ready = 0;
        execute();
        goto again
    :: else
    fi;
    if
    :: p == NONE -> goto stop_m
    :: else
    fi;
    take(ring[p]);
    if
    :: got -> goto found
    :: else
    fi;
    if
    :: !spinning[me] && 2 * nmspinning < 2 - npidle -> spinning[me] = true; nmspinning++
    :: else
    fi;
    lock(); take(glob); unlock();
    steal_from(0);
    steal_from(1);
#ifdef READIER
    steal_from(2);
    steal_from(3);
#endif
    if
    :: got -> goto found
    :: else -> goto stop_m
    fi;

found:
    spin_end();
    execute();
    goto again;

stop_m:
    was = spinning[me];
#ifndef BUG_PLAIN_CLEAR
    atomic { note_state[me] = 0; assert(sem[me] == 0) }         /* m_sleep_begin */
#endif
    lock();
#ifndef BUG_NO_GLOBAL_LOOK
    if
    :: p == NONE && glob > 0 && npidle > 0 -> pid_get(q); acquire_p(q); q = NONE
    :: else
    fi;
    if
    :: p != NONE && glob > 0 -> glob--; unlock(); m_sleep_cancel(); got = true; goto found
    :: else
    fi;
#endif
    if
    :: p != NONE -> release_p()
    :: else
    fi;
#ifdef BUG_RECHECK_FIRST
    spinning[me] = false;
    mput(); unlock();
    recheck_runqs();
#else
#ifndef BUG_SPINNING_AFTER_MPUT
    spinning[me] = false;
#endif
#ifndef BUG_COUNT_AFTER_UNLOCK
    if
    :: was -> count_down()
    :: else
    fi;
#endif
    mput(); unlock();
#ifdef BUG_SPINNING_AFTER_MPUT
    spinning[me] = false;
#endif
#endif
#if defined(BUG_COUNT_AFTER_UNLOCK) || defined(BUG_RECHECK_FIRST)
    if
    :: was -> count_down()
    :: else
    fi;
#endif
#if !defined(BUG_NO_RECHECK) && !defined(BUG_RECHECK_FIRST)
    recheck_runqs();
#endif
    if
    :: got -> goto again
    :: else
    fi;
    if                          /* W2 */
    :: inbox[me] > 0 -> m_sleep_cancel()
    :: else ->
#ifdef BUG_PLAIN_CLEAR
        note_state[me] = 0;
#endif
        asleep[me] = true;
        atomic { sem[me] > 0 -> sem[me]--; asleep[me] = false }
    fi;
    lock(); m_awake(); unlock();
    goto again;

computes:
    over                        /* never: with its P held */
}

proctype Foreign()              /* newproc_foreign */
{
    byte q = NONE;
    bool post, won;
    lock(); glob++; unlock();
    wake_p()
}

proctype Readier()              /* goready: a G of M1 */
{
    bool post;
#ifdef BUG_WAKE_FIRST
    wake_m(1);
    inbox[1]++
#else
    inbox[1]++;
    wake_m(1)
#endif
}

init {
    byte i;
    atomic {
        pidle[1] = true; npidle = 1; holders[0] = 1;
        started[0] = true; started[1] = true;
        run M(0, 0); run M(1, NONE);
#ifdef FOREIGN
        run Foreign();
#endif
#ifdef READIER
        run Readier();
#endif
    }
    do                          /* new_m's thread */
    :: started[2] -> run M(2, NONE); break
    :: timeout -> goto quiet
    od;
    timeout;
quiet:
    atomic {
        for (i : 0 .. NM - 1) {
            assert(!started[i] || asleep[i] || busy[i]);
            assert(!asleep[i] || inbox[i] == 0);
            assert(!asleep[i] || nextp[i] == NONE);
            assert(!(asleep[i] && npidle > 0 && (glob > 0 || ring[0] + ring[1] + ring[2] + ring[3] > 0)));
            assert(!pwaiting[i])
        }
        assert(nmspinning == 0 && !lk);
        assert(holders[0] + pidle[0] == 1 && holders[1] + pidle[1] == 1);
        over = true
    }
end: false
}
