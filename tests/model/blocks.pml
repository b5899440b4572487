/* Who watches for blocks: sysmon's rest, the Ms' wakes, the reporter's verdicts (BW2, BW3).
 *
 * Models    blockwatch_look, blockwatch_m, blockwatch_asks, blockwatch_awake, blockwatch_wake
 *           (rt/sched/blockwatch.pxi); block_examine (rt/observe/blocks.pxi); sysmon_main, sysmon_rests,
 *           sysmon_wake (rt/sched/sysmon.pxi); m_wakes, stop_m (rt/sched/sleep.pxi); schedule, execute,
 *           find_runnable (rt/sched/proc.pxi); newproc (rt/g/goroutine.pxi).
 * World     An M on which one goroutine has started. It queues fresh ones, lets others have the GIL, parks,
 *           so that the M takes a fresh one (with the GIL, or without it), resumes one or sleeps until a thread
 *           wakes it, and at any moment stands, for good, in a call without the GIL. Nobody says
 *           whether somebody waits behind it: if others are bound to it, somebody may.
 *           NAPS: sysmon may nap so often, without rests and barrier, if there is something queued.
 * Abstract  A look is wanted "later" when there is one in view; it comes FREE times at any moment, else
 *           when nothing else moves. QUIET_LOOKS is 1. The reporter gets the GIL when nobody has it.
 * Memory    sleeps, the tick and the ring's tail stay in M's store buffer until they come out by themselves,
 *           by an atomic of M, with the GIL, or by the heavy barrier. All else is sequentially consistent.
 * Once so   BUG_WAKE_SWALLOWED: `go` woke sysmon as its sleep timed out; it looked, as before, knowing of
 *           nothing new, and a verdict from before that counted.
 *           BUG_NAP_SETTLED: sysmon, about to rest, left out its barrier for a nap, until a timer that was
 *           near; the verdict that it then asked for counted. But a G that it had not seen in the ring was
 *           on its way from there, no longer queued when it looked again.
 * Not found A verdict that outlives its tick would do no harm: each way to that wakes sysmon, and ends its round.
 * Claim     Whenever nothing moves and M stands with others bound to it, sysmon has a look in view. And when
 *           M sleeps, or stands with nobody bound, it comes to rest.
 */
#ifndef FREE
#define FREE 1
#endif
#ifndef GOS
#define GOS 2
#endif
#ifndef PARKS
#define PARKS 3
#endif
#ifndef NAPS
#define NAPS 0
#endif
#define YIELDS 1
#define WAKES 1
#define LOOKS 6                 /* in a row with nothing else moving: by then sysmon has come to rest */

bool sl, v_sl;                  /* m.sleeps: as M sees it, as others do */
byte tick = 1, v_tick = 1, ring, v_ring;
byte others;                    /* started on M, not running */
bool curg = true, gil = true, stands, asleep;
byte tokens;                    /* wake-ups of M */
bool watch, rests, post, on, waits;     /* sysmon's */
bool later;
byte w_tick, calm, round = 1;
bool seen, asked, unsettled, busy;

inline flush() { v_sl = sl; v_tick = tick; v_ring = ring }

inline wake_sysmon() { atomic { flush(); post = true } }

proctype M()
{
    byte gos, parks, yields;

running:
    if
    :: gos < GOS ->                             /* go */
        gos++;
        ring++;
        if
        :: !watch -> watch = true; wake_sysmon()
        :: else
        fi;
        goto running
    :: yields < YIELDS ->
        yields++;
        atomic { flush(); gil = false }
        atomic { !gil -> gil = true }
        goto running
    :: atomic { flush(); gil = false; stands = true } goto standing
    :: parks < PARKS -> parks++; curg = false
    fi;

    /* schedule, find_runnable */
    if
    :: ring > 0 ->
        atomic { flush(); ring--; v_ring = ring }       /* the CAS on the head */
        others++
    :: ring > 0 ->
        atomic { flush(); gil = false }
        atomic { ring--; flush() }
        atomic { !gil -> gil = true }
        others++
    :: true                                     /* one that has started is ready */
    :: ring == 0 ->
        atomic { flush(); gil = false }
        atomic { sl = true; flush() }
        asleep = true;
        atomic { tokens > 0 -> tokens--; asleep = false }
#ifdef BUG_WAKES_LATE
        if
        :: rests -> rests = false; wake_sysmon()
        :: else
        fi;
        sl = false;
#else
        sl = false;                             /* m_wakes */
#ifndef BUG_WAKES_SILENT
        if
        :: rests -> rests = false; wake_sysmon()
        :: else
        fi;
#endif
#endif
        atomic { !gil -> flush(); gil = true }
    fi;
    tick++;                                     /* execute */
    curg = true;
    goto running;

standing:
    do
    :: atomic { ring > 0 -> ring = 0; flush() }         /* thieves: sysmon sees to it */
    od
}

proctype Waker()
{
    byte n;
    do
    :: n < WAKES -> n++; tokens++
    :: else -> break
    od
}

proctype Buffer()
{
    do
    :: atomic { v_sl != sl -> v_sl = sl }
    :: atomic { v_tick != tick -> v_tick = tick }
    :: atomic { v_ring != ring -> v_ring = ring }
    od
}

active proctype Reporter()
{
    do
    :: atomic { asked -> asked = false; busy = true }
        atomic {
            !gil -> flush();
            if
#ifdef BUG_CURG_IGNORED
            :: tick == w_tick ->
#else
            :: tick == w_tick && curg ->
#endif
                seen = true;
                if
                :: others == 0 -> calm = round
                :: else
                fi
            :: else
            fi;
            busy = false
        }
    od
}

active proctype Sysmon()
{
    bool quiet, settled, nap;
    byte naps = NAPS;
    do
    :: true ->
        post = false;                           /* note_clear */
        settled = (v_ring == 0) && quiet;       /* the look before has found nothing either */
        quiet = (v_ring == 0);
        if
#ifdef BUG_WAKE_SWALLOWED
        :: settled -> watch = false
#else
        :: atomic { settled -> unsettled = unsettled || watch; watch = false }
#endif
        :: else
        fi;
        if
#ifdef BUG_NAP_SETTLED
        :: naps > 0 -> naps--; nap = true
#else
        :: naps > 0 && !settled -> naps--; nap = true
#endif
        :: true ->
#ifndef BUG_RESTS_LATE
            rests = true;
#endif
#ifndef BUG_NO_HEAVY
            atomic { flush() }
#endif
        fi;
        if
        :: settled && v_ring > 0 -> watch = true; settled = false; quiet = false
        :: else
        fi;
        atomic {                                /* blockwatch_look: sched.lock */
            if
#ifdef BUG_ROUND_KEPT
            :: false
#elif defined(BUG_ROUND_EARLY)
            :: !settled -> round++
#else
            :: !settled || unsettled -> round++
#endif
            :: else
            fi;
            unsettled = !settled;
            on = !settled;
            if
            :: v_sl -> w_tick = 0
            :: !v_sl && v_tick != w_tick ->
                w_tick = v_tick; seen = false; calm = 0; on = true
            :: !v_sl && v_tick == w_tick ->
                if
                :: calm == round
                :: calm != round && (!seen || (settled && calm != 0)) -> on = true; asked = true
                :: else -> on = true
                fi
            fi
        }
#ifdef BUG_RESTS_LATE
        rests = true;
#endif
        if
        :: on -> rests = false
        :: else
        fi;
        waits = !nap;
        if
        :: nap -> nap = false                   /* it ends by itself */
        :: atomic { post -> waits = false; quiet = false }
        :: atomic { on && later -> later = false; waits = false }
        fi
    od
}

init {
    byte free = FREE, left = LOOKS;
    atomic { run M(); run Waker(); run Buffer() }
    do
    :: free > 0 && !later -> atomic { free--; later = true }
    :: free > 0 -> free = 0
    :: timeout ->
        assert(waits && !busy);
        assert(!stands || others == 0 || on);
        if
        :: on && left > 0 -> left--; later = true
        :: on && left == 0 -> assert(stands && others > 0); break
        :: !on -> break
        fi
    od
}
