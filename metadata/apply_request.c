/*
 * Commands that carry the name of their request (client, number): done once, however often they come.
 *
 *   table CLIENT   client id -> a small number, and the index at which it was last noted
 *   table REQUEST  that number, request number modulo REQUESTS_KEPT -> request number, result
 *
 * A command that is decided OK leaves its result in its slot, in the batch of its effects, and takes the place of the
 * request that came REQUESTS_KEPT before it. The same name again is answered from there and changes nothing. A refused
 * command leaves nothing: it had no effect, and its answer was lost, so deciding it anew is as good. A name whose slot
 * holds a later request is too old to tell: STALE. The CLIENTS_KEPT clients noted last are remembered.
 *
 * Names grow, so a number above all that a client has had is new without a look at the map. What the machine remembers
 * for that (`highest`) is read from the slots at a client's first command after an open, and decides nothing.
 */
#include "common/base/assert.h"
#include "common/base/plant.h"
#include "metadata/machine_state.h"

#define NOTED_EVERY 4096 /* indices between two notes of a client that is at work */

static void client_key(struct key *key, const uint8_t id[META_CLIENT_BYTES])
{
    key_table_raw(key, TABLE_CLIENT, id, META_CLIENT_BYTES);
}

static void slot_key(struct key *key, uint32_t client, uint32_t slot)
{
    key_begin(key, TABLE_REQUEST);
    key_u32(key, client);
    key_u32(key, slot);
}

static struct client_slot *client_find(struct machine *m, const uint8_t id[META_CLIENT_BYTES])
{
    for (unsigned i = 0; i < m->client_count; i++) {
        struct client_slot *client = &m->clients[(m->client_last + i) % m->client_count];
        if (memcmp(client->id, id, META_CLIENT_BYTES) == 0) {
            m->client_last = (unsigned)(client - m->clients);
            return client;
        }
    }
    return NULL;
}

enum errc machine_clients_load(struct machine *m, struct error *e)
{
    struct kv *kv = m->kv;
    struct key first, end;
    key_begin(&first, TABLE_CLIENT);
    key_begin(&end, TABLE_CLIENT + 1);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    for (kv->vt->iterator_seek(it, key_slice(&first)); rc == ERRC_OK && kv->vt->iterator_valid(it);
         kv->vt->iterator_next(it)) {
        struct slice key = kv->vt->iterator_key(it);
        struct client_record record;
        rc = record_client_decode(kv->vt->iterator_value(it), &record);
        if (rc != ERRC_OK || key.len != 1 + META_CLIENT_BYTES || record.number >= CLIENTS_KEPT) {
            rc = record_error(e, rc != ERRC_OK ? rc : ERRC_CORRUPT, "a client");
            break;
        }
        struct client_slot *client = &m->clients[record.number];
        *client = (struct client_slot){ .noted_index = record.noted_index };
        memcpy(client->id, key.data + 1, META_CLIENT_BYTES);
        m->client_count++;
    }
    rc = rc == ERRC_OK ? kv->vt->iterator_error(it, e) : rc;
    kv->vt->iterator_destroy(it);
    return rc;
}

/* The highest number in the slots of a client that has not been heard of since the open. */
static enum errc highest_read(struct machine *m, struct client_slot *client, struct error *e)
{
    struct kv *kv = m->kv;
    struct key first, end;
    uint32_t number = (uint32_t)(client - m->clients);
    slot_key(&first, number, 0);
    slot_key(&end, number + 1, 0);
    struct kv_iterator *it = kv->vt->iterate(kv, key_slice(&first), key_slice(&end));
    enum errc rc = ERRC_OK;
    for (kv->vt->iterator_seek(it, key_slice(&first)); rc == ERRC_OK && kv->vt->iterator_valid(it);
         kv->vt->iterator_next(it)) {
        struct request_record record;
        rc = record_request_decode(kv->vt->iterator_value(it), &record);
        if (rc != ERRC_OK) {
            rc = record_error(e, rc, "a request");
            break;
        }
        client->highest = record.number > client->highest ? record.number : client->highest;
    }
    rc = rc == ERRC_OK ? kv->vt->iterator_error(it, e) : rc;
    kv->vt->iterator_destroy(it);
    client->highest_known = rc == ERRC_OK;
    return rc;
}

enum errc request_find(struct apply *a, const struct meta_request *request, struct slice *ret_result)
{
    struct machine *m = a->m;
    struct client_slot *client = client_find(m, request->client);
    *ret_result = slice_of(NULL, 0);
    if (client == NULL || PLANT(PLANT_RETRY_DONE_TWICE)) {
        return ERRC_OK;
    }
    if (!client->highest_known) {
        enum errc rc = highest_read(m, client, a->e);
        if (rc != ERRC_OK) {
            return rc;
        }
    }
    if (request->number > client->highest) {
        return ERRC_OK;
    }
    struct key key;
    struct request_record record;
    struct enc *value = machine_scratch(m);
    slot_key(&key, (uint32_t)(client - m->clients), (uint32_t)(request->number % REQUESTS_KEPT));
    enum errc rc = apply_get(a, &key, value);
    if (rc == ERRC_NOT_FOUND) {
        return ERRC_OK;
    }
    rc = rc == ERRC_OK ? record_request_decode(enc_slice(value), &record) : rc;
    if (rc != ERRC_OK) {
        return a->e->code != ERRC_OK ? rc : record_error(a->e, rc, "a request");
    }
    if (record.number == request->number) {
        *ret_result = record.result;
    } else if (record.number > request->number) {
        apply_outcome(a, META_STALE);
    }
    return ERRC_OK;
}

static void client_put(struct apply *a, const struct client_slot *client)
{
    struct key key;
    struct enc *value = machine_record(a->m);
    const struct client_record record = { (uint32_t)(client - a->m->clients), client->noted_index };
    client_key(&key, client->id);
    record_client_encode(value, &record);
    apply_put(a, &key, value);
}

/* A place for a client not known: a free one, or that of the client noted longest ago. */
static struct client_slot *client_add(struct apply *a, const uint8_t id[META_CLIENT_BYTES])
{
    struct machine *m = a->m;
    struct client_slot *place = &m->clients[0];
    if (m->client_count < CLIENTS_KEPT) {
        place = &m->clients[m->client_count++];
    } else {
        struct key first, end;
        for (unsigned i = 1; i < CLIENTS_KEPT; i++) {
            place = m->clients[i].noted_index < place->noted_index ? &m->clients[i] : place;
        }
        uint32_t number = (uint32_t)(place - m->clients);
        client_key(&first, place->id);
        apply_delete(a, &first);
        slot_key(&first, number, 0);
        slot_key(&end, number + 1, 0);
        m->kv->vt->batch_delete_range(m->batch, key_slice(&first), key_slice(&end));
    }
    *place = (struct client_slot){ .highest_known = true };
    memcpy(place->id, id, META_CLIENT_BYTES);
    return place;
}

void request_keep(struct apply *a, const struct meta_request *request)
{
    struct machine *m = a->m;
    struct client_slot *client = client_find(m, request->client);
    bool known = client != NULL;
    struct key key;
    client = known ? client : client_add(a, request->client);
    if (!known || a->index - client->noted_index >= NOTED_EVERY) {
        client->noted_index = a->index;
        client_put(a, client);
    }
    client->highest = request->number > client->highest ? request->number : client->highest;
    struct enc *result = machine_scratch(m);
    meta_result_encode(result, &a->result);
    const struct request_record record = { request->number, enc_slice(result) };
    struct enc *value = machine_record(m);
    record_request_encode(value, &record);
    slot_key(&key, (uint32_t)(client - m->clients), (uint32_t)(request->number % REQUESTS_KEPT));
    apply_put(a, &key, value);
}
