/* Images of what lies in files, in pieces: mapped, or read into a file of the image's own. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/os.h"
#include "memory/memory_image_internal.h"

/* Files that an image keeps open. */
#define FILES_MAX 16u
/* Of what is read at once: it stays in a core's cache. */
#define READ_BYTES ((size_t)256 << 10)

typedef struct making {
    const dw_block_piece *pieces;
    size_t count;
    size_t bytes;     /* of the image */
    uint64_t least;   /* blocks of a piece that is mapped */
    size_t files_max; /* up to FILES_MAX */
    dw_memory_image *image;
    dw_extent_file *files[FILES_MAX]; /* [file_count] */
    int fds[FILES_MAX];
    size_t file_count;
    dw_extent_file *own; /* each page where it is in the image; NULL: none is read */
    unsigned char *room; /* [READ_BYTES], with `own` */
} making;

static uint64_t bytes_of(uint64_t blocks)
{
    return blocks * DW_IMAGE_BLOCK_BYTES;
}

static bool is_mapped(const making *m, const dw_block_piece *piece)
{
    const uint64_t all = bytes_of(piece->first) | bytes_of(piece->count) | piece->offset;
    return piece->count >= m->least && (all & (dw_os_page_bytes() - 1)) == 0;
}

static dw_status check(const making *m, dw_error *err)
{
    uint64_t end = 0;
    for (size_t i = 0; i < m->count; i++) {
        const dw_block_piece *piece = &m->pieces[i];
        if (piece->first < end || bytes_of(piece->first) + bytes_of(piece->count) > m->bytes) {
            return dw_fail(err, DW_E_ARG, "image: %u blocks at %u, after %llu, of %zu bytes",
                           piece->count, piece->first, (unsigned long long)end, m->bytes);
        }
        end = (uint64_t)piece->first + piece->count;
        dw_status status =
            dw__image_check_source(piece->fd, piece->offset, bytes_of(piece->count), err);
        if (status != DW_OK) {
            return status;
        }
    }
    return DW_OK;
}

/* The place of the file in the list, where it is put; SIZE_MAX: there is no room. */
static size_t place_of(making *m, int fd)
{
    size_t i = 0;
    while (i < m->file_count && m->fds[i] != fd) {
        i++;
    }
    if (i == m->file_count && i < m->files_max) {
        m->fds[m->file_count++] = fd;
    }
    return i < m->file_count ? i : SIZE_MAX;
}

/* Extents with what is mapped now; SIZE_MAX: of too many files. Pieces that are read and have none
 * that is mapped between them are one. */
static size_t count_extents(making *m)
{
    size_t count = 0;
    bool reads = false;
    m->file_count = 0;
    for (size_t i = 0; i < m->count; i++) {
        const bool maps = is_mapped(m, &m->pieces[i]);
        if (maps && place_of(m, m->pieces[i].fd) == SIZE_MAX) {
            return SIZE_MAX;
        }
        count += maps || !reads;
        reads = !maps;
    }
    return count;
}

/* Half of what an image may have: some come with each that is taken. */
static void choose(making *m)
{
    const size_t max = dw__image_extents_max(m->bytes / dw_os_page_bytes()) / 2;
    m->least = 1;
    while (count_extents(m) > max) {
        m->least *= 2;
    }
}

static dw_status add_mapped(making *m, const dw_block_piece *piece, dw_error *err)
{
    const size_t place = place_of(m, piece->fd);
    DW_ASSERT(place < m->file_count);
    if (m->files[place] == NULL) {
        dw_status status = dw_extent_file_open(&m->files[place], piece->fd, err);
        if (status != DW_OK) {
            return status;
        }
    }
    const dw_file_extent extent = {.start = (size_t)bytes_of(piece->first),
                                   .bytes = (size_t)bytes_of(piece->count),
                                   .file = m->files[place],
                                   .file_offset = piece->offset};
    return dw_file_extents_add(&m->image->extents, &extent, err);
}

static dw_status create_own(making *m, dw_error *err)
{
    m->room = dw_alloc(READ_BYTES, 1);
    return m->room != NULL ? dw_extent_file_create(&m->own, "memory image", m->bytes, err)
                           : dw_fail(err, DW_E_MEMORY, "no memory for a piece of an image");
}

/* Bytes [held] to the image's own file, whose holes stand for blocks of zeros: it is not looked at
 * again (dw_memory_image_runs). */
static dw_status put_blocks(int own, uint64_t place, const unsigned char *room, size_t held,
                            dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t at = 0, end; at < held && status == DW_OK; at = end) {
        const bool zero = dw__image_is_zero(room + at, DW_IMAGE_BLOCK_BYTES);
        for (end = at + DW_IMAGE_BLOCK_BYTES;
             end < held && dw__image_is_zero(room + end, DW_IMAGE_BLOCK_BYTES) == zero;) {
            end += DW_IMAGE_BLOCK_BYTES;
        }
        if (!zero) {
            status = dw_os_memfd_write(own, place + at, room + at, end - at, err);
        }
    }
    return status;
}

/* Pieces [from, end) into the image's own file. They go there by way of `room`: read into a mapping
 * of it each page would be a fault, and cleared before. */
static dw_status copy_pieces(const making *m, size_t from, size_t end, dw_error *err)
{
    unsigned char *room = m->room;
    const int own = dw_extent_file_fd(m->own);
    uint64_t begin = 0; /* what the room has goes there */
    size_t held = 0;
    dw_status status = DW_OK;
    for (size_t i = from; i < end && status == DW_OK; i++) {
        const dw_block_piece *piece = &m->pieces[i];
        const uint64_t bytes = bytes_of(piece->count);
        for (uint64_t done = 0; done < bytes && status == DW_OK;) {
            const uint64_t place = bytes_of(piece->first) + done;
            if (held == READ_BYTES || (held > 0 && begin + held != place)) {
                status = put_blocks(own, begin, room, held, err);
                held = 0;
            }
            begin = held == 0 ? place : begin;
            const uint64_t left = bytes - done;
            const size_t some = left < READ_BYTES - held ? (size_t)left : READ_BYTES - held;
            if (status == DW_OK) {
                status = dw_os_read_at(piece->fd, piece->offset + done, room + held, some, err);
            }
            held += some;
            done += some;
        }
    }
    return status == DW_OK && held > 0 ? put_blocks(own, begin, room, held, err) : status;
}

/* Pieces [from, end), with the zero pages between them. */
static dw_status add_read(making *m, size_t from, size_t end, dw_error *err)
{
    const size_t page = dw_os_page_bytes();
    const size_t start = (size_t)bytes_of(m->pieces[from].first) & ~(page - 1);
    const dw_block_piece *last = &m->pieces[end - 1];
    size_t stop;
    DW_ASSERT(dw_round_up(&stop, (size_t)bytes_of((uint64_t)last->first + last->count), page));
    dw_status status = m->own == NULL ? create_own(m, err) : DW_OK;
    if (status == DW_OK) {
        status = copy_pieces(m, from, end, err);
    }
    const dw_file_extent extent = {
        .start = start, .bytes = stop - start, .file = m->own, .file_offset = start};
    return status == DW_OK ? dw_file_extents_add(&m->image->extents, &extent, err) : status;
}

static dw_status lay_out(making *m, dw_error *err)
{
    dw_status status = DW_OK;
    for (size_t i = 0; i < m->count && status == DW_OK;) {
        const size_t from = i++;
        if (is_mapped(m, &m->pieces[from])) {
            status = add_mapped(m, &m->pieces[from], err);
            continue;
        }
        while (i < m->count && !is_mapped(m, &m->pieces[i])) {
            i++;
        }
        status = add_read(m, from, i, err);
    }
    return status;
}

dw_status dw_memory_image_of_pieces(dw_memory_image **out, size_t bytes,
                                    const dw_block_piece *pieces, size_t count, size_t files_max,
                                    dw_error *err)
{
    making m = {.pieces = pieces,
                .count = count,
                .bytes = bytes,
                .files_max = files_max < FILES_MAX ? files_max : FILES_MAX};
    *out = NULL;
    dw_status status = check(&m, err);
    if (status != DW_OK) {
        return status;
    }
    m.image = dw__memory_image_create(bytes, err);
    if (m.image == NULL) {
        return DW_E_MEMORY;
    }
    choose(&m);
    status = lay_out(&m, err);
    dw_extent_file_unref(m.own);
    dw_free(m.room);
    for (size_t i = 0; i < FILES_MAX; i++) {
        dw_extent_file_unref(m.files[i]);
    }
    if (status != DW_OK) {
        dw_memory_image_unref(m.image);
        return status;
    }
    *out = m.image;
    return DW_OK;
}
