/*
 * Goal: what a DIR is and who may have it, where the file system does what it seldom does: lock files that cannot be opened or
 * locked, or vanish under the lock; links and files of others in a DIR that would be emptied. Real files, faults by the seam.
 */
#include "common/base/mem.h"
#include "server/data_dir.h"
#include "server/folder_make.h"
#include "server/identity.h"
#include "server/leftovers.h"
#include "storage-node/superblock.h"
#include "server/credentials.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    struct env_vt vt;
    struct env env;
    char root[64];
    enum errc lock_fault;      /* of every lock, 0: none */
    unsigned lock_vanishes;    /* so many times the file is removed before its lock is taken */
    bool open_fails;           /* of a name that ends with open_fails_at */
    char open_fails_at[64];
    char synced[128];          /* folder of the last fsync */
    bool sync_fails;
} world;

static char *at(const char *name)
{
    return mem_format("%s/%s", world.root, name);
}

static enum errc fault_lock(struct env *env, struct env_file *file, struct error *e)
{
    if (world.lock_fault != ERRC_OK) {
        return error_set(e, world.lock_fault, "the test's fault");
    }
    if (world.lock_vanishes > 0) {
        char *path = at("a/lock");
        world.lock_vanishes--;
        assert_int_equal(unlink(path), 0);
        mem_free(path);
    }
    return env_real()->vt->lock(env, file, e);
}

static enum errc fault_open(struct env *env, const char *path, unsigned flags, struct env_file **ret, struct error *e)
{
    size_t len = strlen(path);
    size_t tail = strlen(world.open_fails_at);
    if (world.open_fails && len >= tail && strcmp(path + len - tail, world.open_fails_at) == 0) {
        return error_set(e, ERRC_DENIED, "cannot open '%s': the test's fault", path);
    }
    return env_real()->vt->open(env, path, flags, ret, e);
}

static enum errc noted_fsync_dir(struct env *env, const char *path, struct error *e)
{
    (void)snprintf(world.synced, sizeof(world.synced), "%s", path);
    return world.sync_fails ? error_set(e, ERRC_IO, "the test's fault") : env_real()->vt->fsync_dir(env, path, e);
}

static int setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof(world));
    world.vt = *env_real()->vt;
    world.vt.lock = fault_lock;
    world.vt.open = fault_open;
    world.vt.fsync_dir = noted_fsync_dir;
    world.env.vt = &world.vt;
    (void)snprintf(world.root, sizeof(world.root), "/tmp/cairn-dirs-XXXXXX");
    return mkdtemp(world.root) != NULL ? 0 : -1;
}

static int entry_remove(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st;
    (void)kind;
    (void)place;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    return nftw(world.root, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static void folder(const char *name)
{
    char *path = at(name);
    assert_int_equal(mkdir(path, 0700), 0);
    mem_free(path);
}

static void file(const char *name, const char *text)
{
    char *path = at(name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    mem_free(path);
}

static bool is_there(const char *name)
{
    struct stat st;
    char *path = at(name);
    bool there = lstat(path, &st) == 0;
    mem_free(path);
    return there;
}

static void credentials(const char *name)
{
    struct credentials made;
    char *path = at(name);
    credentials_generate(&world.env, (struct cluster_id){ { 1 } }, &made);
    assert_int_equal(credentials_write(&world.env, path, &made, NULL), ERRC_OK);
    mem_free(path);
}

static enum errc open_a(struct data_dirs *dirs, struct error *e)
{
    char *path = at("a");
    const char *const paths[] = { path };
    enum errc rc = data_dirs_open(&world.env, paths, 1, dirs, e);
    mem_free(path);
    return rc;
}

/* Makes "a" a DIR with a superblock. */
static void format_a(void)
{
    struct data_dirs dirs;
    folder("a");
    assert_int_equal(open_a(&dirs, NULL), ERRC_OK);
    dirs.dirs[0].disk = (struct disk_id){ { 7 } };
    assert_int_equal(data_dir_prepare(&world.env, &dirs.dirs[0], NULL), ERRC_OK);
    assert_int_equal(data_dir_format(&world.env, &dirs.dirs[0], (struct cluster_id){ { 1 } }, NULL), ERRC_OK);
    data_dirs_close(&dirs);
}

/* Any flipped bit makes it a damaged disk, never one of a newer program, which would keep the whole server from starting. */
static void a_flipped_bit_in_the_superblock_is_damage(void **state)
{
    (void)state;
    struct superblock found;
    uint8_t bytes[128];
    format_a();
    char *path = at("a/disk");
    char *dir = at("a");
    for (unsigned bit = 0; bit < 8 * sizeof(bytes); bit++) {
        FILE *file = fopen(path, "r+");
        assert_non_null(file);
        assert_int_equal(fread(bytes, 1, sizeof(bytes), file), sizeof(bytes));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(fseek(file, 0, SEEK_SET), 0);
        assert_int_equal(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
        assert_int_equal(fclose(file), 0);
        assert_int_equal(superblock_read(&world.env, dir, NULL, &found, NULL), ERRC_CORRUPT);
        file = fopen(path, "r+");
        assert_non_null(file);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
        assert_int_equal(fclose(file), 0);
        assert_int_equal(superblock_read(&world.env, dir, NULL, &found, NULL), ERRC_OK);
    }
    mem_free(dir);
    mem_free(path);
}

/* The only known DIR cannot be locked: this is no first start, and nothing may be taken for one. */
static void a_lock_that_cannot_be_opened(void **state)
{
    (void)state;
    struct data_dirs dirs;
    struct error e = ERROR_INIT;
    format_a();
    world.open_fails = true;
    (void)snprintf(world.open_fails_at, sizeof(world.open_fails_at), "a/lock");
    assert_int_equal(open_a(&dirs, &e), ERRC_DENIED);
    assert_non_null(strstr(e.text, "a/lock"));
    assert_true(is_there("a/disk"));
}

static void a_lock_that_fails_says_why(void **state)
{
    (void)state;
    struct data_dirs dirs;
    struct error e = ERROR_INIT;
    struct env_file *lock = NULL;
    char *path = at("a");
    folder("a");
    world.lock_fault = ERRC_IO;
    assert_int_equal(open_a(&dirs, &e), ERRC_IO);
    assert_non_null(strstr(e.text, "a/lock': the test's fault"));
    e = (struct error)ERROR_INIT;
    assert_int_equal(identity_lock(&world.env, path, &lock, &e), ERRC_IO);
    assert_non_null(strstr(e.text, "a/lock': the test's fault"));
    e = (struct error)ERROR_INIT;
    world.lock_fault = ERRC_CONFLICT;
    assert_int_equal(open_a(&dirs, &e), ERRC_CONFLICT);
    assert_non_null(strstr(e.text, "another server"));
    mem_free(path);
}

/* Another start that failed takes its lock file away between our open and our lock: what we hold then locks nobody out. */
static void a_lock_that_vanishes_is_taken_anew(void **state)
{
    (void)state;
    struct data_dirs dirs;
    struct data_dirs others;
    struct error e = ERROR_INIT;
    folder("a");
    world.lock_vanishes = 3;
    assert_int_equal(open_a(&dirs, NULL), ERRC_OK);
    assert_int_equal(world.lock_vanishes, 0);
    assert_true(is_there("a/lock"));
    assert_int_equal(open_a(&others, &e), ERRC_CONFLICT);
    data_dirs_close(&dirs);
}

/* ---- what is removed ---- */

static void refused(const char *name)
{
    struct data_dirs dirs;
    struct leftovers found;
    struct error e = ERROR_INIT;
    char *path = at("a");
    assert_int_equal(open_a(&dirs, &e), ERRC_INVALID);
    assert_non_null(strstr(e.text, "is not empty"));
    assert_non_null(strstr(e.text, name));
    assert_int_equal(leftovers_look(&world.env, path, &found, NULL), ERRC_OK);
    assert_string_equal(found.foreign, name);
    e = (struct error)ERROR_INIT;
    assert_int_equal(leftovers_remove(&world.env, path, &e), ERRC_INVALID); /* also where it came after the look */
    assert_non_null(strstr(e.text, name));
    mem_free(path);
}

static void links_are_not_followed(void **state)
{
    (void)state;
    char *elsewhere = at("elsewhere");
    char *link = at("a/metadata");
    char *store = at("a/metadata/store");
    folder("a");
    folder("elsewhere");
    file("elsewhere/state", "precious");
    credentials("a");
    assert_int_equal(symlink(elsewhere, link), 0);
    refused("metadata");
    assert_int_equal(unlink(link), 0);
    folder("a/metadata");
    assert_int_equal(symlink(elsewhere, store), 0);
    refused("metadata");
    assert_true(is_there("elsewhere/state"));
    assert_int_equal(unlink(store), 0);
    /* Below what is ours a link is removed, not what it leads to. */
    folder("a/metadata/store");
    mem_free(store);
    store = at("a/metadata/store/link");
    assert_int_equal(symlink(elsewhere, store), 0);
    mem_free(link);
    link = at("a");
    assert_int_equal(leftovers_remove(&world.env, link, NULL), ERRC_OK);
    assert_false(is_there("a/metadata"));
    assert_true(is_there("elsewhere/state"));
    mem_free(elsewhere);
    mem_free(link);
    mem_free(store);
}

static void files_of_others_stay(void **state)
{
    (void)state;
    folder("a");
    folder("a/metadata");
    file("a/metadata/state", "somebody's");
    refused("metadata"); /* no credentials of ours beside it */
    credentials("a");
    file("a/metadata/notes", "somebody's");
    refused("metadata"); /* not all in it is ours */
    assert_true(is_there("a/metadata/state") && is_there("a/metadata/notes") && is_there("a/credentials"));
}

static void credentials_of_others_stay(void **state)
{
    (void)state;
    folder("a");
    file("a/credentials", "[default]\naws_access_key_id = AKIA\n");
    refused("credentials");
    assert_true(is_there("a/credentials"));
}

static void unfinished_files_of_others_stay(void **state)
{
    (void)state;
    folder("a");
    file("a/disk.new", "an image of a disk");
    refused("disk.new");
    assert_true(is_there("a/disk.new"));
}

static void what_is_ours_goes(void **state)
{
    (void)state;
    struct data_dirs dirs;
    folder("a");
    folder("a/metadata");
    folder("a/metadata/store");
    folder("a/metadata/checkpoint-0000000000000001");
    folder("a/lost+found");
    file("a/metadata/log-0000000000000001", "x");
    file("a/metadata/state", "x");
    file("a/metadata/state.new", "");
    file("a/metadata/store/000001.sst", "x");
    file("a/credentials.new", "# Root credentials of th");
    file("a/disk.new", "");
    credentials("a");
    assert_int_equal(open_a(&dirs, NULL), ERRC_OK);
    assert_int_equal(dirs.dirs[0].kind, DATA_DIR_EMPTY);
    assert_true(dirs.dirs[0].unfinished);
    assert_int_equal(data_dir_prepare(&world.env, &dirs.dirs[0], NULL), ERRC_OK);
    assert_false(is_there("a/metadata") || is_there("a/credentials") || is_there("a/credentials.new") || is_there("a/disk.new"));
    assert_true(is_there("a/lock") && is_there("a/lost+found"));
    data_dirs_close(&dirs);
}

/* ---- folders ---- */

static void a_new_folder_is_durable(void **state)
{
    (void)state;
    char *path = at("new/");
    struct env_file *lock = NULL;
    assert_int_equal(identity_lock(&world.env, path, &lock, NULL), ERRC_OK);
    assert_memory_equal(world.synced, world.root, strlen(world.root));
    assert_true(world.synced[strlen(world.root)] == '\0' || strcmp(world.synced + strlen(world.root), "/") == 0);
    world.env.vt->close(&world.env, lock);
    mem_free(path);
    path = at("unsynced");
    world.sync_fails = true;
    assert_int_equal(folder_make(&world.env, path, NULL), ERRC_IO);
    assert_false(is_there("unsynced"));
    mem_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_flipped_bit_in_the_superblock_is_damage, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_that_cannot_be_opened, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_that_fails_says_why, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lock_that_vanishes_is_taken_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(links_are_not_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(files_of_others_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(credentials_of_others_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(unfinished_files_of_others_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_ours_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_folder_is_durable, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
