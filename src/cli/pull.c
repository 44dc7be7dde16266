/* driftwood pull: models from Hugging Face, or from anywhere, into the cache. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/fetch.h"
#include "cli/project.h"

#define LIST_BYTES_MAX ((size_t)64 << 20)
#define PAGES_MAX 64
#define PARTS_MAX 512
#define TRIES 5
#define PIECE ((size_t)1 << 20)

static const char usage[] =
    "usage: driftwood pull NAME[:QUANT]|hf:OWNER/REPO[:QUANT]|URL\n"
    "       driftwood pull --list\n"
    "\n"
    "Fetches a model into the cache ($XDG_CACHE_HOME/driftwood, or ~/.cache/driftwood), and "
    "prints\n"
    "its path. What broke off goes on where it was. Files are compared with the hashes that come\n"
    "with them.\n"
    "\n"
    "  NAME[:QUANT]           one of the names that --list has; QUANT in place of its own\n"
    "  hf:OWNER/REPO[:QUANT]  from Hugging Face: the GGUF file whose name has QUANT in it, in any\n"
    "                         case; without it the one that there is, or Q4_K_M. All parts of one\n"
    "                         that is split. $HF_TOKEN is told to $HF_ENDPOINT (without it\n"
    "                         https://huggingface.co) alone\n"
    "  URL                    a GGUF file, http or https\n"
    "  -l, --list             names, and the address that each stands for\n"
    "  -h, --help             this text\n";

/* A file that is wanted. */
typedef struct remote_file {
    char url[1024];
    char name[256]; /* in the cache */
    uint64_t bytes; /* 0: not known */
    char sha256[65];
} remote_file;

typedef struct wanted {
    remote_file files[PARTS_MAX]; /* [count], the first part first */
    size_t count;
    char folder[DW_CLI_PATH_MAX];
    const char *token;
} wanted;

/* ---- one file ------------------------------------------------------------------------------- */

typedef struct saving {
    int fd;
    uint64_t bytes; /* that are there */
    bool began;
    bool shows; /* on a terminal */
    const char *name;
    uint64_t shown_ns;
    uint64_t begin_ns;
    uint64_t begin_bytes;
} saving;

static ptrdiff_t save(void *user, uint64_t first, const unsigned char *bytes, size_t count)
{
    saving *to = user;
    if (!to->began) {
        to->began = true;
        to->bytes = first; /* 0: the other side gives the whole, anew */
        if (ftruncate(to->fd, (off_t)first) != 0 ||
            lseek(to->fd, (off_t)first, SEEK_SET) != (off_t)first) {
            return -1;
        }
    }
    if (dw_cli_write(to->fd, bytes, count, NULL) != DW_OK) {
        return -1;
    }
    to->bytes += count;
    return (ptrdiff_t)count;
}

static void show(void *user, uint64_t done, uint64_t total)
{
    saving *to = user;
    uint64_t now = dw_cli_clock_ns();
    if (!to->shows || now - to->shown_ns < 200000000) {
        return;
    }
    to->shown_ns = now;
    double seconds = (double)(now - to->begin_ns) / 1e9;
    double rate = seconds > 0 ? (double)(done - to->begin_bytes) / 1e6 / seconds : 0;
    if (total > 0) {
        int part = (int)(30.0 * (double)done / (double)total);
        (void)fprintf(stderr, "\r%.40s [%.*s%.*s] %3.0f %%  %.1f of %.1f MB, %.1f MB/s \033[K",
                      to->name, part, "##############################", 30 - part,
                      "                              ", 100.0 * (double)done / (double)total,
                      (double)done / 1e6, (double)total / 1e6, rate);
    } else {
        (void)fprintf(stderr, "\r%.40s  %.1f MB, %.1f MB/s \033[K", to->name, (double)done / 1e6,
                      rate);
    }
}

static dw_status hash_file(int fd, char text[65], dw_error *err)
{
    struct sha256_ctx hash;
    uint8_t digest[SHA256_DIGEST_SIZE];
    unsigned char *piece = dw_cli_alloc(PIECE, 1);
    off_t at = 0;
    ssize_t got = 0;
    if (piece == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory to compare a file");
    }
    sha256_init(&hash);
    while ((got = pread(fd, piece, PIECE, at)) > 0) {
        sha256_update(&hash, (size_t)got, piece);
        at += got;
    }
    free(piece);
    sha256_digest(&hash, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", digest[i]);
    }
    return got == 0 ? DW_OK : dw_fail(err, DW_E_IO, "a file cannot be read: %s", strerror(errno));
}

/* Until it is whole, or does not get on any more. */
static dw_status fetch_all(const remote_file *file, const char *token, saving *to, char *sha256,
                           dw_error *err)
{
    dw_status status = DW_E_IO;
    for (int i = 0; i < TRIES && status == DW_E_IO; i++) {
        dw_cli_fetched got;
        uint64_t before = to->bytes;
        const dw_cli_fetch what = {.url = file->url,
                                   .token = token,
                                   .from = to->bytes,
                                   .on_bytes = save,
                                   .on_progress = show,
                                   .user = to};
        to->began = false;
        to->begin_ns = dw_cli_clock_ns();
        to->begin_bytes = to->bytes;
        status = dw_cli_fetch_url(&what, &got, err);
        if (got.sha256[0] != '\0') {
            (void)snprintf(sha256, 65, "%s", got.sha256);
        }
        if (status == DW_E_RANGE) {
            to->bytes = 0;
            status = DW_E_IO;
        }
        i = to->bytes > before ? 0 : i; /* it gets on */
    }
    if (to->shows) {
        (void)fprintf(stderr, "\r\033[K");
    }
    return status;
}

/* What is there is as long as it should be, and has its hash; else it goes. */
static dw_status check_whole(const remote_file *file, const saving *to, const char *part,
                             const char *sha256, dw_error *err)
{
    char own[65] = "";
    if (file->bytes != 0 && to->bytes != file->bytes) {
        (void)unlink(part);
        return dw_fail(err, DW_E_FORMAT, "%.100s: %llu bytes came, %llu were told", file->name,
                       (unsigned long long)to->bytes, (unsigned long long)file->bytes);
    }
    dw_status status = sha256[0] != '\0' ? hash_file(to->fd, own, err) : DW_OK;
    if (status == DW_OK && sha256[0] != '\0' && strcmp(own, sha256) != 0) {
        (void)unlink(part);
        status =
            dw_fail(err, DW_E_FORMAT, "%.60s: its SHA-256 is %s, not %s", file->name, own, sha256);
    }
    return status;
}

static dw_status pull_file(const wanted *from, const remote_file *file, dw_error *err)
{
    char path[DW_CLI_PATH_MAX + 300];
    char part[DW_CLI_PATH_MAX + 310];
    char sha256[65];
    struct stat about;
    saving to = {.shows = isatty(STDERR_FILENO) != 0, .name = file->name};
    (void)snprintf(path, sizeof path, "%s/%s", from->folder, file->name);
    (void)snprintf(part, sizeof part, "%s.part", path);
    (void)snprintf(sha256, sizeof sha256, "%s", file->sha256);
    if (stat(path, &about) == 0) {
        return file->bytes == 0 || (uint64_t)about.st_size == file->bytes
                   ? DW_OK
                   : dw_fail(err, DW_E_STATE, "%.150s is another file of that name: move it away",
                             path);
    }
    to.fd = open(part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (to.fd < 0 || flock(to.fd, LOCK_EX | LOCK_NB) != 0 || fstat(to.fd, &about) != 0) {
        dw_status status =
            dw_fail(err, errno == EWOULDBLOCK ? DW_E_BUSY : DW_E_IO, "%.150s: %s", part,
                    errno == EWOULDBLOCK ? "another process fetches it" : strerror(errno));
        dw_cli_close(to.fd);
        return status;
    }
    to.bytes = (uint64_t)about.st_size;
    dw_status status = DW_OK;
    if (file->bytes == 0 || to.bytes < file->bytes) {
        status = fetch_all(file, from->token, &to, sha256, err);
    }
    if (status == DW_OK) {
        status = check_whole(file, &to, part, sha256, err);
    }
    if (status == DW_OK && (dw_cli_sync(to.fd) != 0 || rename(part, path) != 0)) {
        status = dw_fail(err, DW_E_IO, "%.150s: %s", path, strerror(errno));
    }
    dw_cli_close(to.fd);
    return status;
}

/* ---- Hugging Face --------------------------------------------------------------------------- */

typedef struct listing {
    char *text; /* [count] */
    size_t count;
} listing;

static ptrdiff_t keep(void *user, uint64_t first, const unsigned char *bytes, size_t count)
{
    listing *to = user;
    (void)first;
    char *grown =
        to->count + count <= LIST_BYTES_MAX ? dw_cli_realloc(to->text, to->count + count, 1) : NULL;
    if (grown == NULL) {
        return -1;
    }
    to->text = grown;
    memcpy(to->text + to->count, bytes, count);
    to->count += count;
    return (ptrdiff_t)count;
}

static const char *endpoint(void)
{
    const char *given = getenv("HF_ENDPOINT");
    return given != NULL && given[0] != '\0' ? given : "https://huggingface.co";
}

/* All files of the repository -> *files, a list. */
static dw_status list_files(const char *repo, const char *token, json_t **files, dw_error *err)
{
    char url[1024];
    dw_cli_fetched got = {.status = 0};
    dw_status status = DW_OK;
    (void)snprintf(url, sizeof url, "%.300s/api/models/%.300s/tree/main?recursive=1", endpoint(),
                   repo);
    *files = json_array();
    for (int page = 0; status == DW_OK && url[0] != '\0' && page < PAGES_MAX; page++) {
        listing list = {.text = NULL};
        const dw_cli_fetch what = {.url = url, .token = token, .on_bytes = keep, .user = &list};
        status = dw_cli_fetch_url(&what, &got, err);
        json_t *some = status == DW_OK ? json_loadb(list.text != NULL ? list.text : "", list.count,
                                                    JSON_REJECT_DUPLICATES, NULL)
                                       : NULL;
        if (status == DW_OK && !json_is_array(some)) {
            status = dw_fail(err, DW_E_FORMAT, "%.150s: the answer is no list of files", url);
        }
        (void)json_array_extend(*files, some);
        json_decref(some);
        free(list.text);
        /* The token is for this host: a list that goes on elsewhere is none. */
        size_t length = strlen(endpoint());
        bool own = strncmp(got.next, endpoint(), length) == 0 && got.next[length] == '/';
        (void)snprintf(url, sizeof url, "%s", own ? got.next : "");
    }
    return status;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text);
    size_t wanted_bytes = strlen(end);
    return length >= wanted_bytes && strcasecmp(text + length - wanted_bytes, end) == 0;
}

/* "NAME-00002-of-00005.gguf" -> 2; 0: it is no part. */
static unsigned part_of(const char *path, unsigned *count)
{
    size_t length = strlen(path);
    unsigned part = 0;
    int end = 0;
    *count = 0;
    return length > 20 &&
                   sscanf(path + length - 20, "-%5u-of-%5u.gguf%n", &part, count, &end) == 2 &&
                   end == 20
               ? part
               : 0;
}

static bool has(const char *path, const char *quant)
{
    size_t length = strlen(quant);
    for (const char *at = path; *at != '\0'; at++) {
        if (strncasecmp(at, quant, length) == 0) {
            return true;
        }
    }
    return false;
}

/* The models among the files: whole ones and first parts, but for projectors of images. */
static const json_t *choose(const json_t *files, const char *quant, size_t *count)
{
    const json_t *found = NULL;
    size_t i;
    json_t *one;
    *count = 0;
    json_array_foreach(files, i, one)
    {
        const char *path = json_string_value(json_object_get(one, "path"));
        unsigned parts = 0;
        if (path != NULL && ends_with(path, ".gguf") && part_of(path, &parts) <= 1 &&
            !has(path, "mmproj") && (quant == NULL || has(path, quant))) {
            found = found == NULL ||
                            strlen(path) < strlen(json_string_value(json_object_get(found, "path")))
                        ? one
                        : found;
            ++*count;
        }
    }
    return found;
}

static dw_status add_file(wanted *to, const char *repo, const json_t *files, const char *path,
                          dw_error *err)
{
    size_t i;
    json_t *one;
    json_array_foreach(files, i, one)
    {
        const char *its = json_string_value(json_object_get(one, "path"));
        if (its == NULL || strcmp(its, path) != 0) {
            continue;
        }
        const json_t *lfs = json_object_get(one, "lfs");
        const char *hash = json_string_value(json_object_get(lfs, "oid"));
        const char *slash = strrchr(path, '/');
        const char *name = slash != NULL ? slash + 1 : path;
        remote_file *file = &to->files[to->count];
        if (name[0] == '.' || strlen(name) >= sizeof file->name ||
            strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+/") !=
                strlen(path)) {
            return dw_fail(err, DW_E_ARG, "'%.150s' is no name for a file here", path);
        }
        (void)snprintf(file->name, sizeof file->name, "%s", name);
        (void)snprintf(file->url, sizeof file->url, "%.300s/%.300s/resolve/main/%.400s", endpoint(),
                       repo, path);
        file->bytes =
            (uint64_t)json_integer_value(json_object_get(lfs != NULL ? lfs : one, "size"));
        if (hash != NULL && strlen(hash) == 64) {
            (void)snprintf(file->sha256, sizeof file->sha256, "%s", hash);
        }
        to->count++;
        return DW_OK;
    }
    return dw_fail(err, DW_E_NOT_FOUND, "%.100s: the part %.120s is missing", repo, path);
}

static dw_status add_parts(wanted *to, const char *repo, const json_t *files, const char *first,
                           dw_error *err)
{
    char path[512];
    unsigned count = 0;
    dw_status status = DW_OK;
    if (part_of(first, &count) == 0) {
        return add_file(to, repo, files, first, err);
    }
    if (count == 0 || count > PARTS_MAX || strlen(first) >= sizeof path) {
        return dw_fail(err, DW_E_LIMIT, "%.150s: %u parts, limit %d", first, count, PARTS_MAX);
    }
    for (unsigned i = 1; i <= count && status == DW_OK; i++) {
        (void)snprintf(path, sizeof path, "%.*s-%05u-of-%05u.gguf", (int)strlen(first) - 20, first,
                       i, count);
        status = add_file(to, repo, files, path, err);
    }
    return status;
}

/* "OWNER/REPO" and "QUANT", or NULL, of what stands behind "hf:". */
static dw_status split(const char *name, char repo[256], const char **quant, dw_error *err)
{
    const char *colon = strchr(name, ':');
    size_t length = colon != NULL ? (size_t)(colon - name) : strlen(name);
    const char *slash = memchr(name, '/', length);
    *quant = colon != NULL && colon[1] != '\0' ? colon + 1 : NULL;
    bool good =
        length < 256 && slash != NULL && slash != name && slash + 1 < name + length &&
        memchr(slash + 1, '/', (size_t)(name + length - slash - 1)) == NULL &&
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") ==
            length;
    (void)snprintf(repo, 256, "%.*s", (int)(length < 255 ? length : 255), name);
    return good && strstr(repo, "..") == NULL
               ? DW_OK
               : dw_fail(err, DW_E_ARG, "'hf:%.100s': hf:OWNER/REPO[:QUANT] is wanted", name);
}

static dw_status find_files(wanted *to, const char *name, dw_error *err)
{
    char repo[256];
    const char *quant = NULL;
    json_t *files = NULL;
    size_t count = 0;
    const char *token = getenv("HF_TOKEN");
    to->token = token != NULL && token[0] != '\0' ? token : NULL;
    dw_status status = split(name, repo, &quant, err);
    if (status == DW_OK) {
        status = list_files(repo, to->token, &files, err);
    }
    const json_t *found = status == DW_OK ? choose(files, quant, &count) : NULL;
    if (status == DW_OK && quant == NULL && count > 1) {
        found = choose(files, "Q4_K_M", &count);
    }
    if (status == DW_OK && found == NULL) {
        status = dw_fail(err, DW_E_NOT_FOUND, "%.100s has no GGUF file%s%.40s", repo,
                         quant != NULL ? " with " : ": name one of its quantizations",
                         quant != NULL ? quant : "");
    }
    if (status == DW_OK) {
        status = add_parts(to, repo, files, json_string_value(json_object_get(found, "path")), err);
    }
    json_decref(files);
    return status;
}

/* ---- anything ------------------------------------------------------------------------------- */

static dw_status find_url(wanted *to, const char *url, dw_error *err)
{
    size_t length = strcspn(url, "?#");
    const char *name = url + length;
    while (name > url && name[-1] != '/') {
        name--;
    }
    remote_file *file = &to->files[0];
    (void)snprintf(file->name, sizeof file->name, "%.*s", (int)(url + length - name), name);
    if (!ends_with(file->name, ".gguf") || file->name[0] == '.' ||
        strlen(url) >= sizeof file->url || strchr(file->name, '%') != NULL) {
        return dw_fail(err, DW_E_ARG, "'%.150s': the URL of a .gguf file is wanted", url);
    }
    (void)snprintf(file->url, sizeof file->url, "%s", url);
    to->count = 1;
    return DW_OK;
}

/* The folder and those above it: in a fresh home there is no ~/.cache. */
static dw_status make_cache(char *folder, dw_error *err)
{
    bool made = mkdir(folder, 0755) == 0 || errno == EEXIST;
    if (!made && errno == ENOENT) {
        dw_status status = dw_cli_make_parents(folder, 0, err);
        if (status != DW_OK) {
            return status;
        }
        made = mkdir(folder, 0755) == 0 || errno == EEXIST;
    }
    return made ? DW_OK : dw_fail(err, DW_E_IO, "%.150s: %s", folder, strerror(errno));
}

dw_status dw_cli_pull_model(const char *name, char *path, size_t capacity, dw_error *err)
{
    wanted *to = dw_cli_alloc(1, sizeof *to);
    if (to == NULL) {
        return dw_fail(err, DW_E_MEMORY, "no memory for a list of files");
    }
    dw_status status = dw_cli_model_folder(to->folder, sizeof to->folder, err);
    if (status == DW_OK) {
        status =
            strncmp(name, "hf:", 3) == 0 ? find_files(to, name + 3, err) : find_url(to, name, err);
    }
    if (status == DW_OK) {
        status = make_cache(to->folder, err);
    }
    for (size_t i = 0; i < to->count && status == DW_OK; i++) {
        status = pull_file(to, &to->files[i], err);
    }
    if (status == DW_OK &&
        (size_t)snprintf(path, capacity, "%s/%s", to->folder, to->files[0].name) >= capacity) {
        status = dw_fail(err, DW_E_LIMIT, "the path of the model is too long");
    }
    free(to);
    return status;
}

static int list_names(void)
{
    const dw_cli_known_model *known;
    for (size_t i = 0; (known = dw_cli_known_model_at(i)) != NULL; i++) {
        dw_cli_print("%-18s hf:%s:%-8s %s\n", known->name, known->repo, known->quant, known->what);
    }
    return 0;
}

static bool is_address(const char *name)
{
    return strncmp(name, "hf:", 3) == 0 || strncmp(name, "http://", 7) == 0 ||
           strncmp(name, "https://", 8) == 0;
}

int dw_cli_pull(int argc, char **argv)
{
    static const struct option options[] = {
        {"list", no_argument, NULL, 'l'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    char path[DW_CLI_PATH_MAX];
    char address[512];
    dw_error error;
    int option;
    bool lists = false;
    while ((option = getopt_long(argc, argv, "lh", options, NULL)) != -1) {
        if (option == 'h') {
            dw_cli_print("%s", usage);
            return 0;
        }
        if (option != 'l') {
            return DW_CLI_USAGE;
        }
        lists = true;
    }
    if (argc - optind != (lists ? 0 : 1)) {
        return dw_cli_fail(DW_CLI_USAGE, "pull takes %d argument%s, %d were given", lists ? 0 : 1,
                           lists ? "s with --list" : "", argc - optind);
    }
    if (lists) {
        return list_names();
    }
    const char *name = argv[optind];
    if (!is_address(name)) {
        if (dw_cli_known_address(name, address, sizeof address, &error) != DW_OK) {
            return dw_cli_fail(DW_CLI_USAGE, "pull: %s", error.message);
        }
        name = address;
    }
    if (dw_cli_pull_model(name, path, sizeof path, &error) != DW_OK) {
        return dw_cli_fail_with(&error);
    }
    dw_cli_print("%s\n", path);
    return 0;
}
