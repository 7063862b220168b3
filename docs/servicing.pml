/* servicing.pml - who serves the guest: a model of the ownership protocol and of
 * the servicing machine, for spin. tests/model/run.sh checks it: never do two
 * serve; whoever is killed, wherever, somebody serves again.
 *
 * What stands for what: `word`, `owner`, `epoch` are the ownership word of
 * custody, moved whole (compare-exchange). mutex[p] is the robust mutex of
 * process p's lane: death releases it, which is the thread fence. serves[p]: p's
 * lane runs, so p may write guest memory and custody. `machine` is the state of
 * the servicing machine: it is in the log, so only who serves moves it, by T().
 * tests/model/transitions.py compares the T() here with the rows of
 * statemachines/servicing.def. Processes are numbered and never used again;
 * epochs likewise. Each step is atomic and asks alive[me] first, so a kill comes
 * between any two. */
#ifndef KILLS
#define KILLS 2
#endif
#ifndef ASKS
#define ASKS 1
#endif
#define PROCS (3 + 2 * ASKS + KILLS)
#define NOBODY 255

mtype = { OWNED, FLIP, TAKING };
mtype = { IDLE, SPAWNING, FOLLOWING, FLIPPING, PROBATION, RETURNING, DONE, ROLLED_BACK };
#define FIRST 0
#define SUCCESSOR 1
#define TAKER 2

mtype word = OWNED;
byte owner = 0, epoch = 1, flip_to = NOBODY;
bool alive[PROCS], serves[PROCS], mutex[PROCS], was_owner[PROCS], ready[PROCS], follows[PROCS];
byte procs = 0, kills = KILLS, asks = ASKS;
mtype machine = IDLE;
byte successor = NOBODY, predecessor = NOBODY;
bool spawn_asked = false, spawn_failed = false, return_asked = false;
byte spawned = NOBODY;

#define T(from, event, to) assert(machine == from); machine = to

/* The servicing machine no longer speaks of it. */
#define unwanted_successor(p) (machine != SPAWNING && successor != p)
#define unwanted_predecessor(p) (machine != FLIPPING && \
	!((machine == PROBATION || machine == RETURNING) && predecessor == p))

inline start(who, how) {
	alive[who] = true;
	run Paravisor(who, how)
}

/* First record of a new owner. */
inline serving(me, planned) {
	if
	:: machine == SPAWNING -> T(SPAWNING, SERVING, ROLLED_BACK); successor = NOBODY
	:: machine == FOLLOWING -> T(FOLLOWING, SERVING, ROLLED_BACK); successor = NOBODY
	:: machine == FLIPPING && planned && successor == me ->
		T(FLIPPING, SERVING, PROBATION); predecessor = before; successor = NOBODY
	:: machine == FLIPPING && !(planned && successor == me) ->
		T(FLIPPING, SERVING, ROLLED_BACK); successor = NOBODY; predecessor = NOBODY
	:: machine == PROBATION && predecessor == me ->
		T(PROBATION, SERVING, ROLLED_BACK); predecessor = NOBODY
	:: machine == RETURNING && predecessor == me ->
		T(RETURNING, SERVING, ROLLED_BACK); predecessor = NOBODY
	:: machine == RETURNING && predecessor != me -> T(RETURNING, SERVING, PROBATION)
	:: else
	fi;
	spawned = NOBODY; spawn_failed = false
}

proctype Paravisor(byte me; byte how)
{
	byte old, e, i, before;
	bool planned = false, forward = false;

	atomic {
		mutex[me] = alive[me];
		if
		:: how == FIRST -> before = NOBODY; goto serve
		:: else
		fi
	};

end_follow:
	do
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] && !ready[me] -> ready[me] = true }
	:: atomic { alive[me] && word == FLIP && flip_to == me ->
		old = owner; e = epoch; goto accept }
	:: atomic { alive[me] && word == TAKING && owner == me -> e = epoch; goto take }
	:: atomic { alive[me] && follows[me] && unwanted_predecessor(me) && word != TAKING ->
		goto leave }
	:: atomic { alive[me] && how == SUCCESSOR && !follows[me] && unwanted_successor(me) &&
		!(word == TAKING && owner == me) -> goto leave }
	/* a predecessor that differs asks the owner to hand back */
	:: atomic { alive[me] && follows[me] && machine == PROBATION && predecessor == me &&
		!return_asked && word == OWNED && serves[owner] -> return_asked = true }
	od;

accept:
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] -> mutex[me] = true }
	fi;
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] && !mutex[old] }                    /* the fence is passed */
	:: atomic { alive[me] && mutex[old] && word != FLIP -> goto leave }
	fi;
	atomic {
		if
		:: !alive[me] -> goto dead
		:: alive[me] && word == FLIP && owner == old && epoch == e && flip_to == me ->
			word = OWNED; owner = me; epoch++; planned = true; before = old;
			was_owner[old] = false
		:: else -> goto leave
		fi
	};
	goto serve;

take:
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] -> mutex[me] = true; i = 0 }
	fi;
	do
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] && i == PROCS -> break }
	:: atomic { alive[me] && i < PROCS && (i == me || !was_owner[i] || !mutex[i]) -> i++ }
	od;
	atomic {
		if
		:: !alive[me] -> goto dead
		:: alive[me] && word == TAKING && owner == me && epoch == e ->
			word = OWNED; epoch++; planned = false; before = NOBODY
		:: else -> goto leave
		fi
	};

serve:
	atomic {
		if
		:: !alive[me] -> goto dead
		:: alive[me] ->
			assert(word == OWNED && owner == me);
			i = 0;
			do
			:: i < PROCS -> assert(!(serves[i] && alive[i])); i++   /* never two */
			:: i == PROCS -> break
			od;
			serves[me] = true; was_owner[me] = true; follows[me] = false;
			return_asked = false; e = epoch;
			serving(me, planned)
		fi
	};

end_turn:
	do
	:: atomic { !alive[me] -> goto dead }
	/* the operator */
	:: atomic { alive[me] && machine == IDLE && asks > 0 ->
		asks--; T(IDLE, SERVICE, SPAWNING); spawn_asked = true }
	:: atomic { alive[me] && machine == DONE && asks > 0 ->
		asks--; T(DONE, SERVICE, SPAWNING); spawn_asked = true }
	:: atomic { alive[me] && machine == ROLLED_BACK && asks > 0 ->
		asks--; T(ROLLED_BACK, SERVICE, SPAWNING); spawn_asked = true }
	:: atomic { alive[me] && machine == PROBATION && asks > 0 ->
		asks--; predecessor = NOBODY; T(PROBATION, SERVICE, SPAWNING); spawn_asked = true }
	:: atomic { alive[me] && machine == FOLLOWING ->
		alive[successor] = false; mutex[successor] = false; successor = NOBODY;
		T(FOLLOWING, ROLLBACK, ROLLED_BACK) }
	:: atomic { alive[me] && machine == PROBATION && predecessor != NOBODY ->
		T(PROBATION, ROLLBACK, RETURNING); flip_to = predecessor; forward = false; goto flip }
	:: atomic { alive[me] && machine == PROBATION ->
		predecessor = NOBODY; T(PROBATION, COMMIT, DONE) }
	/* the partition */
	:: atomic { alive[me] && machine == SPAWNING && spawned != NOBODY ->
		successor = spawned; spawned = NOBODY; T(SPAWNING, COMMAND_DONE, FOLLOWING) }
	:: atomic { alive[me] && machine == SPAWNING && spawn_failed ->
		spawn_failed = false; T(SPAWNING, COMMAND_DONE, ROLLED_BACK) }
	:: atomic { alive[me] && machine == FOLLOWING && alive[successor] && ready[successor] ->
		T(FOLLOWING, SUCCESSOR_READY, FLIPPING); flip_to = successor; forward = true;
		goto flip }
	:: atomic { alive[me] && machine == FOLLOWING && !alive[successor] ->
		successor = NOBODY; T(FOLLOWING, SUCCESSOR_GONE, ROLLED_BACK) }
	:: atomic { alive[me] && machine == PROBATION && predecessor != NOBODY &&
		!alive[predecessor] -> predecessor = NOBODY }
	/* deadlines */
	:: atomic { alive[me] && machine == SPAWNING ->
		spawned = NOBODY; spawn_asked = false; T(SPAWNING, TIMER, ROLLED_BACK) }
	:: atomic { alive[me] && machine == FOLLOWING ->
		alive[successor] = false; mutex[successor] = false; successor = NOBODY;
		T(FOLLOWING, TIMER, ROLLED_BACK) }
	:: atomic { alive[me] && machine == PROBATION ->
		predecessor = NOBODY; T(PROBATION, TIMER, DONE) }
	/* the predecessor */
	:: atomic { alive[me] && machine == PROBATION && return_asked && predecessor != NOBODY ->
		return_asked = false; flip_to = predecessor; forward = false; goto flip }
	od;

flip:
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] -> serves[me] = false }             /* the lane has stopped */
	fi;
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] -> assert(word == OWNED && owner == me && epoch == e);
		word = FLIP; mutex[me] = false }
	fi;
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] && !(owner == me && epoch == e) -> goto handed_on }
	:: atomic { alive[me] && word == FLIP && owner == me && epoch == e -> word = OWNED }
	fi;
	/* past the deadline, or the other one is dead: it goes on */
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] -> mutex[me] = true }
	fi;
	atomic {
		if
		:: !alive[me] -> goto dead
		:: alive[me] ->
			serves[me] = true;
			if
			:: machine == FLIPPING ->
				T(FLIPPING, SUCCESSOR_GONE, ROLLED_BACK); successor = NOBODY;
				predecessor = NOBODY
			:: machine == RETURNING ->
				T(RETURNING, SUCCESSOR_GONE, PROBATION); predecessor = NOBODY
			:: machine == PROBATION -> predecessor = NOBODY
			:: else
			fi
		fi
	};
	goto end_turn;

handed_on:
	if
	:: atomic { !alive[me] -> goto dead }
	:: atomic { alive[me] && forward -> follows[me] = true; goto end_follow }
	:: atomic { alive[me] && !forward -> goto leave }
	fi;

leave:
	atomic { alive[me] = false; mutex[me] = false; serves[me] = false };
dead:
	skip
}

/* holdfast-partition: names a taker after a death, starts what it is asked to. */
active proctype Partition()
{
	byte i, to;

	atomic { start(0, FIRST); procs = 1 };
end:
	do
	:: atomic { spawn_asked && procs < PROCS - KILLS - 1 ->
		spawn_asked = false;
		if
		:: start(procs, SUCCESSOR); spawned = procs; procs++
		:: spawn_failed = true
		fi }
	:: atomic { !alive[owner] && !mutex[owner] ->
		to = NOBODY;
		if
		:: word == FLIP && alive[flip_to] -> to = flip_to
		:: else ->
			i = 0;
			do
			:: i < PROCS && follows[i] && alive[i] && i != owner -> to = i; break
			:: i < PROCS && !(follows[i] && alive[i] && i != owner) -> i++
			:: i == PROCS -> break
			od
		fi;
		if
		:: to != NOBODY
		:: to == NOBODY && procs < PROCS -> to = procs; start(to, TAKER); procs++
		fi;
		word = TAKING; owner = to }
	od
}

/* SIGKILL, to anybody, at any time. */
active proctype Killer()
{
	byte i;
end:
	do
	:: atomic { kills > 0 ->
		i = 0;
		do
		:: i < PROCS - 1 -> i++
		:: break
		od;
		if
		:: alive[i] -> alive[i] = false; serves[i] = false; mutex[i] = false; kills--
		:: else
		fi }
	:: atomic { kills > 0 -> kills = 0 }                       /* no more of them */
	od
}

ltl somebody_serves { [] <> (word == OWNED && alive[owner] && serves[owner]) }
