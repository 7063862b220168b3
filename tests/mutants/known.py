"""The mistakes that were made, or nearly, by people: by name, one place each.

(name, file, text that stands there once, text instead). Those of the
hand-over have their own proofs: ../crash/mutants.py."""

DOORS = '''\t\tfor (unsigned i = 1; i < LIMIT_CHANNELS; i++) {
\t\t\tchar name[16];
\t\t\tuint64_t taken;
\t\t\tint fd;

\t\t\tsnprintf(name, sizeof(name), "door.%u", i);
\t\t\tfd = custody_fd(&p->c, name);
\t\t\tif (fd >= 0 && read(fd, &taken, sizeof(taken)) < 0)
\t\t\t\tcontinue;
\t\t}
'''

KNOWN = [
    ('off by one: a ring that is empty looks full', 'devices/ring.c',
     'return to >= from ? to - from', 'return to > from ? to - from'),
    ('off by one: a copy runs over the end of the ring', 'devices/ring.c',
     '\t\tmemcpy(to, r->page[at / GUESTMEM_PAGE] + in_page, n);\n\t\tto += n;\n\t\tlen -= n;\n'
     '\t\tat += n;\n\t\tif (at == r->size)',
     '\t\tmemcpy(to, r->page[at / GUESTMEM_PAGE] + in_page, n);\n\t\tto += n;\n\t\tlen -= n;\n'
     '\t\tat += n;\n\t\tif (at == r->size + 8)'),
    ('off by one: the trailer is not the packet\'s', 'devices/ring.c',
     '(uint64_t)index_of(r, position) << 32', '(uint64_t)index_of(r, position + 8) << 32'),
    ('off by one: a packet of the whole available room', 'devices/ring.c',
     'len + TRAILER > available', 'len + TRAILER >= available'),
    ('off by one: an index at the size is legal', 'devices/ring.c',
     'return index < r->size && index % 8 == 0;', 'return index <= r->size && index % 8 == 0;'),
    ('lost kick: after unmasking nobody looks again', 'devices/ring.c',
     'memory_order_seq_cst);\n\treturn ring_has_more(r, position);',
     'memory_order_seq_cst);\n\treturn false;'),
    ('lost kick: the guest that waits for packets is not signalled', 'devices/ring.c',
     'memory_order_relaxed) == index_of(r, before);', 'memory_order_relaxed) == index_of(r, before) + 8;'),
    ('lost kick: the guest that waits for room is not signalled', 'devices/ring.c',
     'room_between(r, index_of(r, position), write) > pending;',
     'room_between(r, index_of(r, position), write) < pending;'),
    ('a bit set without its interrupt', 'devices/channels.c',
     '(set_flag(h, i, vp) || always))', '(set_flag(h, i, vp) && always))'),
    ('two readers of a doorbell', 'servicing/follower.c',
     '\tcustody_owner_wait(&p->c, word, l->idle',
     DOORS + '\tcustody_owner_wait(&p->c, word, l->idle'),
    ('a stale doorbell: closed, it stays in force', 'statemachines/channel.c',
     '\tif (c->door_seq)\n\t\tdeclare_door(cx, 0);\n', ''),
    ('a stale doorbell: the old one counts as in force', 'statemachines/channel.c',
     'generation >=\n\t       ((const struct channel *)cx->self)->door_seq;',
     'generation + 1 >=\n\t       ((const struct channel *)cx->self)->door_seq;'),
    ('index 0: relid 0 names a channel', 'statemachines/vmbus.c',
     'return relid ? sm_find(cx, KIND_channel, relid) : (struct sm_ref){ 0 };',
     'return sm_find(cx, KIND_channel, relid);'),
    ('index 0: slot 0 is no successor', 'statemachines/servicing.c',
     '(uint32_t)((const struct rec_command_done *)cx->p)->value + 1;',
     '(uint32_t)((const struct rec_command_done *)cx->p)->value;'),
    ('reissue over a newer write', 'statemachines/scsi.c',
     '((struct scsi *)cx->self)->stale = true;', ';'),
    ('a message of an old map counts', 'statemachines/channel.c',
     'generation !=\n\t       ((const struct channel *)cx->self)->map_generation;',
     'generation >\n\t       ((const struct channel *)cx->self)->map_generation;'),
    ('a packet is taken twice', 'statemachines/channel.c', 'c->in_position = ((const struct rec_packet *)cx->p)->next;',
     ';'),
    ('the generation of a reused index does not grow', 'engine/world.c',
     'cx->ref.generation != h->generation', 'cx->ref.generation > h->generation'),
    ('a retired instance keeps its blobs', 'engine/world.c',
     '\trelease_blobs(w, a->desc, h);\n', ''),
    ('a field not saved: the second of every machine', 'persist/codec.c',
     '\t\tif (d->fields[i].since > level)\n\t\t\tcontinue;\n',
     '\t\tif (d->fields[i].since > level || i == 1)\n\t\t\tcontinue;\n'),
    ('deferred events are delivered in the other state only once', 'engine/world.c',
     'if (from != row->to && h->deferred)', 'if (from == row->to && h->deferred)'),
]

# Of the log and the pipeline; run.py shows that the engine's own tests catch them.
# name: (file, text that stands there once, what the mutant has instead)
LOG = {
    'drop one log record': (
        'engine/log.c', '\tmake_place(lw, log_cost(len));\n\tput(lw, &copy, payload);',
        '\tif (h->seq == 9 && h->type == LOG_EVENT)\n\t\treturn;\n'
        '\tmake_place(lw, log_cost(len));\n\tput(lw, &copy, payload);'),
    'reorder two log records': (
        'engine/lane.c', '\t\tret_at[i] = append_turn(l, type, ev.seq, ev.time_ns, &t);',
        '\t\tret_at[i] = append_turn(l, type, ev.seq == 9 ? 10 : ev.seq == 10 ? 9 : ev.seq, ev.time_ns, &t);'),
    'skip one append': (
        'engine/lane.c', '\tmemcpy(payload + sizeof(c), t->effects, t->bytes);\n',
        '\tif (seq == 9)\n\t\treturn l->staged[0];\n\tmemcpy(payload + sizeof(c), t->effects, t->bytes);\n'),
    'effects before the confirm is committed': (
        'engine/lane.c', '\tperform_staged(l, n, at, 0);\n',
        '\tl->log.words->tail -= 8;\n\tperform_staged(l, n, at, 0);\n\tl->log.words->tail += 8;\n'),
    'DONE before the effects': (
        'engine/lane.c', '\tperform_staged(l, n, at, 0);\n',
        '\tatomic_store(&l->log.words->done, l->seq);\n\tperform_staged(l, n, at, 0);\n'),
    'redo forgets the last turn': (
        'engine/lane.c', 'h->seq <= atomic_load(&l->log.words->done)',
        'h->seq <= atomic_load(&l->log.words->done) + 1'),
    'the source position is not saved': (
        'engine/world.c', '\t\tw->lane.source_pos[ev->source] = ev->source_pos;\n',
        '\t\tw->lane.source_pos[ev->source] = ev->source_pos / 2 * 2;\n'),
    'the chain forgets the payload': (
        'engine/log.c', 'return h->len ? XXH3_64bits_withSeed(payload, h->len, chain) : chain;',
        'return payload || !payload ? chain : 0;'),
}
