/* Who runs what is queued, on a GIL build (W1, W2, W4, W5): the policy, and sysmon that watches.
 *
 * Models    policy_spawned, policy_queued, policy_steals, policy_leaves, policy_rests, policy_found (rt/sched/policy.pxi);
 *           judge, sample, heat, heat_up (rt/sched/watch.pxi); leaves_to, leaves_placed, place
 *           (rt/sched/learn.pxi); sysmon_watch, sysmon_wake, sysmon_main, sysmon_look, glob_stands,
 *           anything_queued (rt/sched/sysmon.pxi); stop_m, leave_to, wake_p, start_m, give_p, hand_p,
 *           start_any, wake_m, m_awake (rt/sched/sleep.pxi); new_m, m_start, spare_p, put_back, await_p, m_free, m_alloc
 *           (rt/sched/machine.pxi); schedule, find_runnable, find_work, look_around, hot_spin, steal_from,
 *           spin_end (rt/sched/proc.pxi); newproc_publish, newproc_slow, newproc_foreign, goready, park_foreign;
 *           gm_barrier_light, gm_barrier_heavy (rt/platform/barrier.h).
 * World     Two regular Ps (REGS). M0 starts with P0 and spawns SPAWNS Gs on it, then stands for
 *           ever or schedules; sysmon is about to look, armed (IDLE: it has no thread yet); M1 has no
 *           P and sleeps; M2 is a thread that new_m may start, once. Each G may end, stand for
 *           ever (two do, at most: one M is always left) or, NESTED times, spawn another. Who
 *           stands computes, or blocks (KIND=BLOCKED). FOREIGN: a thread puts a G on the global
 *           queue. READIER: a thread readies a G of M1.
 *           HOT: the work may be done without the GIL; hot is a hint that changes at any moment, FLIPS times.
 *           A further M may be of use, or not, as the CPUs are (policy_hot_more, placed_more): not, only if one is awake.
 *           PLACE: and the Gs may be placed; HOSTS1, HOSTS2: how many started Gs M1 and M2 host.
 *           RECYCLE, for itself: a foreign thread parks, is readied, ends; its M serves another
 *           thread that parks, while the first one's waker is still to call wake_m.
 * Abstract  Ring and spill are one counter; a steal takes one G, in one step. So is the look of judge
 *           at the queues, and what is done under sched.lock (step by step: sleep.pml). Time: a
 *           sleep of sysmon's may be over at any moment, LOOKS times; then only when nothing else
 *           moves. An M that stands in a G gets the verdict at the second look that finds it
 *           there; one that is merely slow may get it, too. nblocked is anything. A quiet look
 *           is enough to disarm (QUIET_LOOKS is 1). Who has the GIL does not matter here: a thief in a hot time may
 *           take a G, or may not, and so may one that rests: how late what is left comes to run is not seen.
 *           Timers, sysmon.until and its naps are sysmon.pml's.
 * Memory    The stores that publish (a ring's tail, the global queue's size with the lock's release)
 *           stay in their thread's buffer, as on x86, until they come out by themselves, by an
 *           atomic of that thread or by the heavy barrier. All else is sequentially consistent.
 * Claim     When nothing moves any more, sysmon sleeps for good, disarmed; nothing is queued; no M
 *           sleeps with something in its inbox or a P on its way; nmspinning is 0, nobody waits for
 *           the lock, each regular P is idle or held by one M. And sysmon never looks for ever in
 *           vain: a few looks (VAIN) after the others have stopped a G is run, or it sleeps. PLACE: a P is
 *           handed on few times (LEAVES) until a G is run.
 * Once so   BUG_NEW_M_COUNTED: an M that began with its first G from local_next, in schedule, did not
 *           end its spinning. If that G never ended sysmon sent nobody any more.
 *           BUG_SENT_LEAVES: an M that sysmon had sent to the global queue, on a spare P since all others stood,
 *           left it to one that hosted fewer, but with no P to give. It was sent again, for ever.
 */
#define NONE 9
#ifndef REGS
#define REGS 2
#endif
#define NP   4
#define NM   3
#define S    3                  /* sysmon's note; RECYCLE: the foreign threads' M */
#define F    8                  /* me of the foreign thread */
#ifndef SPAWNS
#define SPAWNS 1
#endif
#ifndef LOOKS
#define LOOKS 1
#endif
#ifndef NESTED
#define NESTED 0
#endif
#ifdef PLACE
#define HOT
#define PLACING true
#else
#define PLACING false
#endif
#ifdef HOT
#define VAIN 6
#else
#define VAIN 4
#endif
#define LEAVES 10
#ifndef FLIPS
#define FLIPS 1
#endif
#ifndef HOSTS1
#define HOSTS1 1
#endif
#ifndef HOSTS2
#define HOSTS2 0
#endif
#define HOSTS(x) (x == 0 -> 9 : (x == 1 -> HOSTS1 : HOSTS2))

#define BUSY 1
#define BLOCKED 2
#ifndef KIND
#define KIND BUSY
#endif

byte note_state[NM + 1] = 1, sem[NM + 1];

inline wake_m(x)                /* note_wakeup: an exchange, then the post */
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
        :: post -> assert(sem[x] == 0); sem[x]++; post = false      /* N2 */
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

#ifndef RECYCLE

byte ring[NP], glob;            /* fresh Gs, as others see them */
byte pend[NM];                  /* on its P's ring, in M's store buffer */
bool gpend;                     /* in the foreign thread's: a put, with the lock's release */
byte puts, takes;               /* the global queue's */
byte inbox[NM], nextp[NM] = NONE, hold[NM] = NONE, holder[NP] = NONE, stands[NM];
bool spinning[NM], midle[NM], started[NM], asleep[NM];
bool pidle[NP], sparing[NP];    /* sparing: a spare P on its way to an M */
byte npidle, nmspinning, verdict[NP], grant[NP];
bool moved[NP];                 /* it has ticked, or changed hands, since sysmon's look */
byte endless = 2, spawns = NESTED, vain;
bool lk;
#ifdef HOT
bool hot = true;                /* watch is WATCH_HOT */
byte flips = FLIPS, leaves;
#else
#define hot false
#endif
#ifdef IDLE
bool watch, sstarted;
#else
bool watch = true, sstarted = true;
#endif


inline flush(x)
{
    if
    :: x < NM && pend[x] > 0 -> ring[hold[x]] = ring[hold[x]] + pend[x]; pend[x] = 0
    :: x == F && gpend -> gpend = false; glob++; puts++; lk = false
    :: else
    fi
}

inline heavy() { atomic { flush(0); flush(1); flush(2); flush(F) } }

inline lock() { !lk; flush(me) }                /* the section is one step: atomic */

/* ---- Ps and Ms, as in sleep.pml --------------------------------------------------------- */

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

inline spare_p(to)
{
    atomic {
        to = REGS;
        do
        :: holder[to] != NONE || sparing[to] -> to++
        :: else -> break
        od;
        assert(to < NP);
        sparing[to] = true
    }
}

inline put_back(x)
{
    atomic {
        if
        :: x < REGS -> assert(!pidle[x]); pidle[x] = true; npidle++
        :: else -> sparing[x] = false; glob = glob + ring[x]; puts = puts + ring[x]; ring[x] = 0
        fi
    }
}

inline stands_not(x) { verdict[x] = 0; grant[x] = 0 }

inline acquire_p(x)
{
    atomic {
        assert(holder[x] == NONE && hold[me] == NONE);
        hold[me] = x; holder[x] = me; moved[x] = true; sparing[x] = false
    }
}

inline release_p()
{
    atomic {
        holder[hold[me]] = NONE;
        stands_not(hold[me]); moved[hold[me]] = false;      /* what sysmon knew matters no more */
        put_back(hold[me]); hold[me] = NONE
    }
}

inline m_awake()
{
    atomic {
        midle[me] = false;
        if
        :: nextp[me] != NONE -> acquire_p(nextp[me]); nextp[me] = NONE
        :: else
        fi
    }
}

inline count_down() { d_step { assert(nmspinning > 0); nmspinning-- } }

inline give_p()                 /* q, to a sleeping M; q is NONE then */
{
    for (w : 0 .. NM - 1) {
        if
        :: midle[w] && q != NONE ->
            midle[w] = false; nextp[w] = q; spinning[w] = true; q = NONE; wake_m(w)
        :: else
        fi
    }
    w = 0
}

inline new_m()
{
    if
    :: !started[2] -> started[2] = true; nextp[2] = q; spinning[2] = true; q = NONE
    :: else                     /* enough */
    fi
}

inline start_m()                /* after the section that has got q, and has tried give_p */
{
    if
    :: q == NONE
    :: else ->
        atomic { new_m() }
        if
        :: q == NONE
        :: else ->
            atomic {
                lock();
                give_p();
                if
                :: q != NONE -> put_back(q); q = NONE; count_down()
                :: else
                fi
            }
        fi
    fi
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
            atomic {
                lock();
                won = false;
                pid_get(q);
                if
                :: q == NONE -> count_down()
                :: else -> give_p()
                fi
            }
            start_m()
        fi
    fi
}

inline start_any()
{
    nmspinning++;
    atomic {
        lock();
        pid_get(q);
        if
        :: q == NONE -> spare_p(q)
        :: else
        fi;
        give_p()
    }
    start_m()
}

inline spins_no_more()          /* stop_m's: who is on midle may be set spinning again */
{
    atomic {
        if
        :: spinning[me] -> spinning[me] = false; count_down()
        :: else
        fi
    }
}

#ifdef HOT
#define AWAKE_PS (REGS - npidle)

inline wake_more()              /* wake_p, if there is a CPU for one more */
{
    if
    :: AWAKE_PS >= 1
    :: wake_p()
    fi
}

inline spin_end()               /* policy_found */
{
    atomic {
        if
        :: spinning[me] -> spinning[me] = false; count_down(); won = (hot && nmspinning == 0)
        :: else
        fi
    }
    if
    :: won -> won = false; wake_more()
    :: else
    fi
}
#else
inline spin_end() { spins_no_more() }
#endif

/* ---- the policy ------------------------------------------------------------------------- */

inline sysmon_wake()
{
    atomic { flush(me); won = !watch; watch = true }
    if
    :: won || sstarted ->
        atomic { won = sstarted; sstarted = true }
        if
        :: won -> won = false; wake_m(S)
        :: else                 /* its thread starts */
        fi
    :: else
    fi
}

inline sysmon_watch()
{
    if
    :: !watch -> sysmon_wake()
    :: else
    fi
}

inline policy_queued()
{
#ifndef BUG_UNWATCHED_QUEUE
    sysmon_watch();
#endif
    if
    :: REGS - npidle >= 2
    :: wake_p()                 /* whatever nblocked says */
    fi
}

inline go_here()                /* newproc_publish, newproc_slow, policy_spawned */
{
#ifdef PLACE
    atomic {                    /* place */
        lock();
        glob++; puts++;
        if
        :: watch -> hot = true
        :: else
        fi
    }
    sysmon_watch();
    wake_more()
#elif defined(HOT)
    if
    :: hot && hold[me] >= REGS -> atomic { lock(); glob++; puts++ } policy_queued()
    :: hot && hold[me] < REGS -> ring[hold[me]]++; wake_more(); sysmon_watch()    /* a fence */
    :: !hot -> pend[me]++; sysmon_watch()
    fi
#elif defined(BUG_WATCH_FIRST)
    won = watch;                /* no light barrier: the compiler's order */
    pend[me]++;
    if
    :: !won -> sysmon_wake()
    :: else -> won = false
    fi
#else
    pend[me]++;
    sysmon_watch()
#endif
}

inline steal_from(x)            /* policy_steals */
{
    if
    :: !got && x != hold[me] && ring[x] > 0 && verdict[x] != 0 && !moved[x] ->
        if
        :: verdict[x] == BLOCKED -> ring[x]--; got = true
        :: verdict[x] == BUSY && grant[x] > 0 -> grant[x] = 0; ring[x]--; got = true
        :: else
        fi
#ifdef HOT
    :: !got && x != hold[me] && ring[x] > 0 && hot && hold[me] < REGS -> ring[x]--; got = true
    :: !got && x != hold[me] && ring[x] > 0 && hot && hold[me] < REGS && (
            verdict[x] == 0 || moved[x])                /* it is one too many, or rests */
#endif
    :: else
    fi
}

/* ---- an M ------------------------------------------------------------------------------- */

inline take(x) { atomic { if :: x > 0 -> x--; got = true :: else fi } }

inline take_own() { atomic { flush(me); take(ring[hold[me]]) } }

inline take_glob()
{
    if
    :: !got && glob > 0 ->
        atomic { lock(); if :: glob > 0 -> glob--; takes++; got = true :: else fi }
    :: else
    fi
}

#ifdef BUG_SENT_STAYS_OUT
#define LEAVES_QUEUE (hot && hold[me] >= REGS)
#else
#define LEAVES_QUEUE (hot && hold[me] >= REGS && !spinning[me])         /* policy_leaves */
#endif
#define LEAVES_PLACED (PLACING && hot && HOSTS(me) > 0)                 /* hosts_many too */

inline look_at_glob()
{
    if
    :: LEAVES_QUEUE || LEAVES_PLACED
    :: else -> take_glob()
    fi
}

#ifdef BUG_EQUALS
#define FEWER(x, y) (x <= y)
#else
#define FEWER(x, y) (x < y)
#endif

#ifdef PLACE
#define SOME 7                  /* left to those that are awake */
#ifdef BUG_SENT_LEAVES_TOO
#define SENT_STAYS true
#else
#define SENT_STAYS (!spinning[me])
#endif
#define SUITS(x) (FEWER(HOSTS(x), HOSTS(me)) && (more || HOSTS(x) > 0))
#define WORKS(x) (me != x && started[x] && !seeks[x] && !midle[x] && HOSTS(x) < HOSTS(me))
#define AWAKE(x) (me != x && seeks[x] && !midle[x] && HOSTS(x) < HOSTS(me) && (more || HOSTS(x) > 0))
bool seeks[NM];

inline leaves_to()
{
    if
    :: glob > 0 && LEAVES_PLACED ->
        if                      /* whether one more M is to host */
        :: more = true
        :: more = false
        fi;
        if
        :: AWAKE(1) || AWAKE(2) -> other = SOME
        :: else ->
        if
        :: midle[2] && SUITS(2) && !(midle[1] && SUITS(1) && HOSTS(1) < HOSTS(2)) -> other = 2
        :: midle[1] && SUITS(1) && !(midle[2] && SUITS(2) && HOSTS(2) <= HOSTS(1)) -> other = 1
        :: else ->
            if
            :: !started[2] && !made_none && more -> other = me
            :: else
            fi
        fi
        fi;
        if                      /* placed_enough says no only where another M has a P */
        :: other == NONE && SENT_STAYS && (REGS - npidle > 1 || WORKS(1) || WORKS(2)) ->        /* policy_rests */
            if
            :: other = SOME
            :: true
            fi
        :: else
        fi;
        more = false;
        if
        :: other != me -> made_none = false
        :: else
        fi
    :: else
    fi
}

inline leave_to()               /* in stop_m's section */
{
    if
    :: other == NONE
    :: other == SOME -> other = NONE
    :: else ->
#ifndef BUG_LEAVE_SILENT
        pid_get(q);
#ifndef BUG_SENT_LEAVES
        if
        :: q == NONE && sent -> spare_p(q)
        :: else
        fi;
#endif
        if
        :: q != NONE -> nmspinning++; leaves++; assert(leaves < LEAVES)
        :: else
        fi;
        if
        :: q != NONE && other != me ->
            midle[other] = false; nextp[other] = q; spinning[other] = true; q = NONE;
            wake_m(other)
        :: else
        fi;
#endif
        other = NONE
    fi;
    sent = false
}

inline left_to_none()           /* and after it: q is for a thread that is to be made */
{
    if
    :: q == NONE
    :: else ->
        atomic {
            if
            :: new_m()
            :: true             /* no thread to be had */
            fi
        }
        if
        :: q == NONE
        :: else ->
            atomic {
                lock();
#ifndef BUG_MADE_NONE_FORGOTTEN
                made_none = true;
#endif
                give_p();
                if
                :: q != NONE -> put_back(q); q = NONE; count_down()
                :: else
                fi
            }
        fi
    fi
}
#else
#define other NONE
#endif

inline execute()
{
    atomic {
        moved[hold[me]] = true; vain = 0; got = false;
#ifdef PLACE
        leaves = 0; seeks[me] = false
#endif
    }
    if
    :: atomic { spawns > 0 -> spawns-- } go_here()
    :: atomic { endless > 0 -> endless--; stands[me] = KIND } goto standing
    :: true
    fi
}

proctype M(byte me)
{
    byte q = NONE, ready, i, w;
    bool post, won, got;
#ifdef PLACE
    byte other = NONE;
    bool made_none, sent, more;
#endif
    if
    :: me == 0 ->               /* its own goroutine */
        do
        :: i < SPAWNS -> go_here(); i++
        :: else -> i = 0; break
        od;
        if
        :: atomic { endless > 0 -> endless--; stands[me] = KIND } goto standing
        :: true
        fi
    :: me == 2 ->               /* m_start: the first G is schedule's */
        started[2];
        atomic { lock(); m_awake() }
        take_own();
        take_glob();
        if
#ifdef BUG_NEW_M_COUNTED
        :: got -> goto go_on
#else
        :: got -> goto found
#endif
        :: else
        fi
    :: else
    fi;

again:
#ifdef PLACE
    seeks[me] = true;
#endif
    atomic { ready = ready + inbox[me]; inbox[me] = 0 }
    if
    :: ready > 0 ->
        spin_end();
        if
        :: hold[me] == NONE ->  /* await_p */
            atomic {
                lock();
                pid_get(q);
                if
                :: q == NONE -> spare_p(q)
                :: else
                fi;
                acquire_p(q); q = NONE
            }
        :: else
        fi;
        ready = 0;
        goto go_on
    :: else
    fi;
    if
    :: hold[me] == NONE -> goto stop_m
    :: else
    fi;
    take_own();
#ifdef HOT
    if
    :: got -> goto found
    :: else
    fi;
    look_at_glob();
#else
    take_glob();
#endif
    atomic { steal_from(0); steal_from(1); steal_from(2); steal_from(3) }
    if
    :: got -> goto found
#ifdef HOT
    :: !got && hot && hold[me] < REGS && !LEAVES_PLACED ->      /* hot_spin */
        atomic {
            if
            :: spinning[me]
#ifdef BUG_SPINS_UNMARKED
            :: !spinning[me] && nmspinning == 0 -> nmspinning = 1
#else
            :: !spinning[me] && nmspinning == 0 -> nmspinning = 1; spinning[me] = true
#endif
            :: !spinning[me] && nmspinning > 0 -> goto stop_m
            fi
        }
        if
        :: inbox[me] > 0 || glob > 0 || ring[0] + ring[1] + ring[2] + ring[3] > 0 -> goto again
        :: true -> goto stop_m                  /* the time is up, or it is cold */
        fi
#endif
    :: else -> goto stop_m
    fi;

found:
    spin_end();
go_on:
    execute();
    goto again;

stop_m:
    m_sleep_begin(me);
    atomic {
        lock();
#ifdef PLACE
        leaves_to();
        sent = (spinning[me] && hold[me] != NONE && hold[me] >= REGS);
#endif
        if
        :: hold[me] == NONE && glob > 0 && npidle > 0 && other == NONE -> pid_get(q); acquire_p(q); q = NONE
        :: else
        fi;
        if
        :: hold[me] != NONE && glob > 0 && other == NONE && !LEAVES_QUEUE -> glob--; takes++; got = true
        :: else ->
            if
            :: hold[me] != NONE -> release_p()
            :: else
            fi;
            spins_no_more();
            midle[me] = true;
#ifdef PLACE
            leave_to()
#endif
        fi
    }
#ifdef PLACE
    left_to_none();
#endif
    if
    :: got -> m_sleep_cancel(me); goto found
    :: else
    fi;
    if                          /* W2 */
    :: inbox[me] > 0 -> m_sleep_cancel(me)
    :: else ->
        asleep[me] = true;
        atomic { sem[me] > 0 -> sem[me]--; asleep[me] = false }
    fi;
    atomic { lock(); m_awake() }
    goto again;

standing:
    false
}

proctype Foreign()              /* newproc_foreign */
{
    byte q = NONE, me = F, w;
    bool post, won;
    atomic { !lk -> lk = true; gpend = true }           /* until it comes out the lock is not free */
    policy_queued()
}

proctype Readier()              /* goready: a G of M1 */
{
    byte me = NONE;
    bool post;
    inbox[1]++;
    wake_m(1)
}

proctype Buffers()              /* they come out, some time */
{
    do
    :: atomic { pend[0] > 0 -> flush(0) }
    :: atomic { pend[1] > 0 -> flush(1) }
    :: atomic { pend[2] > 0 -> flush(2) }
    :: atomic { gpend -> flush(F) }
#ifdef HOT
    :: atomic { flips > 0 && watch -> flips--; hot = !hot }
    :: flips > 0 -> flips = 0
#endif
    od
}

/* ---- sysmon ----------------------------------------------------------------------------- */

inline sample(x)
{
    if
    :: holder[x] == NONE
    :: holder[x] != NONE && moved[x] -> stands_not(x); moved[x] = false
    :: holder[x] != NONE && !moved[x] && stands[holder[x]] > 0 ->
        verdict[x] = stands[holder[x]];
        if
        :: ring[x] > 0 && verdict[x] == BUSY -> grant[x] = granted
        :: else
        fi
    :: holder[x] != NONE && !moved[x] && stands[holder[x]] == 0 -> stands_not(x)
    :: holder[x] != NONE && !moved[x] && stands[holder[x]] == 0 && ring[x] > 0 ->
        verdict[x] = BLOCKED
    fi
}

inline look_at(x)
{
    if
    :: ring[x] > 0 -> queued = true; stalled = stalled || verdict[x] != 0
    :: else
    fi
}

inline anything_queued() { queued = (glob > 0 || ring[0] > 0 || ring[1] > 0 || ring[2] > 0 || ring[3] > 0) }

active proctype Sysmon()
{
    byte me = S, q = NONE, w, looks = LOOKS, s_puts, i;
    bool post, won, queued, stalled, puts_at, granted = 1;
    if
    :: sstarted
    :: timeout -> goto quiet
    fi;

    do
    :: true ->
#ifndef BUG_CLEAR_LATE
        m_sleep_begin(S);
#endif
        queued = false;
        atomic {
            !lk;
            sample(0); sample(1); sample(2); sample(3);
#ifdef BUG_GRANT_ONCE
            granted = granted && (grant[0] + grant[1] + grant[2] + grant[3] == 0);
#endif
        }
        d_step {
            look_at(0); look_at(1); look_at(2); look_at(3);
            if                  /* glob_stands */
            :: glob > 0 ->
                queued = true;
                stalled = stalled || (puts_at && takes < s_puts);
                s_puts = puts; puts_at = true
            :: else -> puts_at = false; s_puts = 0; puts = 0; takes = 0
            fi
        }
#ifdef HOT
        if
        :: hot && queued -> wake_more()         /* heat */
        :: else
        fi;
#endif
        if
        :: stalled && nmspinning == 0 -> start_any()
        :: else
        fi;
        stalled = false;
        if
        :: queued -> skip       /* again after LOOK_NS */
        :: else ->
#ifdef BUG_LOOK_THEN_CLEAR
            heavy();
            anything_queued();
            if
            :: !queued -> watch = false
            :: else
            fi;
#else
#ifdef HOT
            atomic { watch = false; hot = false }
#else
            watch = false;
#endif
#ifndef BUG_NO_HEAVY
            heavy();
#endif
#ifndef BUG_LOOK_ONCE
            anything_queued();
            if
            :: queued -> watch = true
            :: else
            fi
#endif
#endif
        fi;
#ifdef BUG_CLEAR_LATE
        m_sleep_begin(S);
#endif
        if
        :: queued ->
            if
            :: atomic { sem[S] > 0 -> sem[S]-- }
            :: atomic { looks > 0 -> looks-- } m_sleep_cancel(S)
            :: timeout -> vain++; assert(vain < VAIN); m_sleep_cancel(S)
            fi
        :: else ->
            if
            :: atomic { sem[S] > 0 -> sem[S]-- }
            :: timeout -> goto quiet
            fi
        fi
    od;

quiet:
    atomic {
        for (i : 0 .. NM - 1) {
            assert(!started[i] || asleep[i] || stands[i] > 0);
            assert(!asleep[i] || (inbox[i] == 0 && nextp[i] == NONE));
            assert(pend[i] == 0)
        }
        for (i : 0 .. NP - 1) {
            assert(ring[i] == 0 && !sparing[i]);
            assert(i >= REGS || (holder[i] == NONE) == pidle[i])
        }
        assert(glob == 0 && nmspinning == 0 && !lk && !watch)
    }
}

init {
    atomic {
        pidle[1] = REGS == 2; npidle = REGS - 1;
        hold[0] = 0; holder[0] = 0; started[0] = true; started[1] = true;
        run M(0); run M(1); run M(2); run Buffers();
#ifdef FOREIGN
        run Foreign();
#endif
#ifdef READIER
        run Readier();
#endif
    }
}

#endif

#ifdef RECYCLE

/* The M is S: thread A's, then B's. flush and me: no store buffers here. */
inline flush(x) { skip }

byte inbox, parked;             /* whose park it is: 1, 2; 0 for none */
bool mfree, done[3];

inline park_foreign(who)
{
    parked = who;
    do
    :: true ->
#ifndef BUG_SLEEP_ONCE
        m_sleep_begin(S);
        if
        :: inbox > 0 -> m_sleep_cancel(S); break
        :: else
        fi;
        atomic { sem[S] > 0 -> sem[S]-- }
#else
        m_sleep_begin(S);       /* takes its wake-up for the only one there can be */
        if
        :: inbox > 0 -> m_sleep_cancel(S)
        :: else -> atomic { sem[S] > 0 -> sem[S]-- }
        fi;
        break
#endif
    od;
    assert(inbox == who);
    inbox = 0;
    done[who] = true
}

active proctype A()
{
    byte me;
    bool post;
    park_foreign(1);
    mfree = true                /* m_free */
}

active proctype B()
{
    byte me;
    bool post;
    atomic { mfree -> mfree = false }                   /* m_alloc */
    park_foreign(2)
}

proctype Waker(byte who)
{
    byte me;
    bool post;
    parked == who;              /* it has won the park */
    inbox = who;
    wake_m(S)
}

init {
    atomic { run Waker(1); run Waker(2) }
    timeout;
    assert(done[1] && done[2] && sem[S] == 0)
}

#endif
