/* Driftwood's guest API in C++17: handles that close themselves, results that are a value or an
 * error, memory that devices use in place. Over driftwood_guest.h; nothing to link, and no C++
 * library is needed: what has data() and size(), such as std::vector, std::string and std::span, is
 * taken as it is, and results become std::string, std::string_view or std::vector where those are
 * asked for.
 *
 *     dw::Model model = dw::Model::open().must("model");
 *     dw::Chat chat(model);
 *     chat.add("user", "Name a sea.").must("chat");
 *     chat.answer(64, dw::print).must("answer");
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIFTWOOD_HPP
#define DRIFTWOOD_HPP

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driftwood_guest.h"

/* ---- what the language calls ------------------------------------------------------------------- */

/* new, delete, static objects within functions, and abstract classes, where no C++ library is linked.
 * Weak: a library's, or a program's own, take their place. Out of memory ends the guest. */
#if __has_include(<new>)
#include <new>
#else
namespace std {
enum class align_val_t : size_t;
}
inline void *operator new(size_t, void *place) noexcept
{
    return place;
}
inline void *operator new[](size_t, void *place) noexcept
{
    return place;
}
inline void operator delete(void *, void *) noexcept {}
inline void operator delete[](void *, void *) noexcept {}
#endif

namespace dw {
namespace detail {
inline void *allocated(size_t bytes, size_t alignment)
{
    size_t room = bytes > 0 ? bytes : 1;
    size_t whole = (room + alignment - 1) / alignment * alignment;
    void *memory = whole >= room ? aligned_alloc(alignment, whole) : nullptr;
    if (memory == nullptr) {
        fprintf(stderr, "operator new: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memory;
}
} // namespace detail
} // namespace dw

#define DW_WEAK __attribute__((weak))
DW_WEAK void *operator new(size_t bytes)
{
    return dw::detail::allocated(bytes, alignof(max_align_t));
}
DW_WEAK void *operator new[](size_t bytes)
{
    return dw::detail::allocated(bytes, alignof(max_align_t));
}
DW_WEAK void *operator new(size_t bytes, std::align_val_t alignment)
{
    return dw::detail::allocated(bytes, static_cast<size_t>(alignment));
}
DW_WEAK void *operator new[](size_t bytes, std::align_val_t alignment)
{
    return dw::detail::allocated(bytes, static_cast<size_t>(alignment));
}
DW_WEAK void operator delete(void *memory) noexcept
{
    free(memory);
}
DW_WEAK void operator delete[](void *memory) noexcept
{
    free(memory);
}
DW_WEAK void operator delete(void *memory, size_t) noexcept
{
    free(memory);
}
DW_WEAK void operator delete[](void *memory, size_t) noexcept
{
    free(memory);
}
DW_WEAK void operator delete(void *memory, std::align_val_t) noexcept
{
    free(memory);
}
DW_WEAK void operator delete[](void *memory, std::align_val_t) noexcept
{
    free(memory);
}
DW_WEAK void operator delete(void *memory, size_t, std::align_val_t) noexcept
{
    free(memory);
}
DW_WEAK void operator delete[](void *memory, size_t, std::align_val_t) noexcept
{
    free(memory);
}
extern "C" {
/* A guest has one thread: the first byte says that the object is made. */
DW_WEAK int __cxa_guard_acquire(uint64_t *guard)
{
    return *reinterpret_cast<const unsigned char *>(guard) == 0;
}
DW_WEAK void __cxa_guard_release(uint64_t *guard)
{
    *reinterpret_cast<unsigned char *>(guard) = 1;
}
DW_WEAK void __cxa_guard_abort(uint64_t *) {}
DW_WEAK void __cxa_pure_virtual()
{
    fprintf(stderr, "a function of an abstract class was called\n");
    abort();
}
}
#undef DW_WEAK

namespace dw {

/* ---- errors ------------------------------------------------------------------------------------ */

/* A status below zero and the host's words on it. */
struct Error {
    int32_t code = 0; /* DW_E_... */
    char message[256] = "";

    static Error last(int32_t code)
    {
        Error error;
        error.code = code;
        (void)dw_last_error(error.message, sizeof error.message);
        return error;
    }
    static Error of(int32_t code, const char *message)
    {
        Error error;
        error.code = code;
        (void)snprintf(error.message, sizeof error.message, "%s", message);
        return error;
    }
    /* "E_ARG" and so on. */
    const char *name() const
    {
        switch (code) {
#define DW_STATUS_NAME(name, value) \
    case value:                     \
        return #name;
            DW_ABI_STATUSES(DW_STATUS_NAME)
#undef DW_STATUS_NAME
        default:
            return "unknown";
        }
    }
    [[noreturn]] void die(const char *what) const
    {
        fprintf(stderr, "%s: %s (%s)\n", what, message, name());
        exit(1);
    }
};

/* A value, or the error in its place. */
template <class T>
class [[nodiscard]] Result {
public:
    Result(T &&value) : value_(static_cast<T &&>(value)) {}
    Result(const Error &error) : error_(error) {}

    explicit operator bool() const { return error_.code == 0; }
    const Error &error() const { return error_; }
    /* Only where there is one. */
    T &operator*() { return value_; }
    T *operator->() { return &value_; }
    T take() { return static_cast<T &&>(value_); }
    /* The value; on failure "what: why" on standard error, and the end of the guest. */
    T must(const char *what)
    {
        if (error_.code != 0) {
            error_.die(what);
        }
        return static_cast<T &&>(value_);
    }

private:
    T value_{};
    Error error_;
};

template <>
class [[nodiscard]] Result<void> {
public:
    Result() = default;
    Result(const Error &error) : error_(error) {}
    explicit operator bool() const { return error_.code == 0; }
    const Error &error() const { return error_; }
    void must(const char *what) const
    {
        if (error_.code != 0) {
            error_.die(what);
        }
    }

private:
    Error error_;
};

using Status = Result<void>;

namespace detail {
/* A count, or nothing where the host refuses to tell. */
inline uint32_t count_of(int32_t result)
{
    return result > 0 ? static_cast<uint32_t>(result) : 0;
}
inline Result<int32_t> number(int32_t result)
{
    return result < 0 ? Result<int32_t>(Error::last(result)) : Result<int32_t>(int32_t{result});
}
inline Status status(int32_t result)
{
    return result < 0 ? Status(Error::last(result)) : Status();
}
template <class T>
struct bare {
    using type = T;
};
template <class T>
struct bare<const T> {
    using type = T;
};
template <class T>
T &&declared(); /* std::declval */
} // namespace detail

/* ---- memory ------------------------------------------------------------------------------------ */

/* Elements [size] that somebody else owns. */
template <class T>
class Span {
public:
    Span() = default;
    Span(T *data, size_t size) : data_(data), size_(size) {}
    template <size_t N>
    Span(T (&array)[N]) : data_(array), size_(N)
    {
    }
    template <class C, class = decltype(static_cast<T *>(detail::declared<C &>().data())),
              class = decltype(detail::declared<C &>().size())>
    Span(C &&from) : data_(from.data()), size_(from.size())
    {
    }
    T *data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T &operator[](size_t i) const { return data_[i]; }
    T *begin() const { return data_; }
    T *end() const { return data_ + size_; }
    Span part(size_t from, size_t count) const { return Span(data_ + from, count); }

private:
    T *data_ = nullptr;
    size_t size_ = 0;
};

/* Characters: of a literal or a C string, or of what has data() and size(). */
class Text : public Span<const char> {
public:
    Text() = default;
    Text(const char *text) : Span(text, text != nullptr ? strlen(text) : 0) {}
    Text(const char *text, size_t bytes) : Span(text, bytes) {}
    template <class C, class = decltype(static_cast<const char *>(detail::declared<C &>().data())),
              class = decltype(detail::declared<C &>().size())>
    Text(C &&from) : Span(from.data(), from.size())
    {
    }
    uint32_t bytes() const { return static_cast<uint32_t>(size()); }
    bool operator==(const Text &other) const
    {
        return size() == other.size() && memcmp(data(), other.data(), size()) == 0;
    }
};

/* Elements of its own, zeroed, at an address that every device uses in place. Of types that are
 * copied as bytes. Moves, does not copy. Out of memory ends the guest. */
template <class T>
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(size_t count) { resize(count); }
    Buffer(Buffer &&other) { swap(other); }
    Buffer &operator=(Buffer &&other)
    {
        swap(other);
        return *this;
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer() { free(data_); }

    static Buffer of(Span<const T> from)
    {
        Buffer buffer;
        buffer.append(from);
        return buffer;
    }
    /* What is new is zero. */
    void resize(size_t count)
    {
        reserve(count);
        if (count > size_) {
            memset(static_cast<void *>(data_ + size_), 0, (count - size_) * sizeof(T));
        }
        size_ = count;
    }
    void append(Span<const T> from)
    {
        reserve(size_ + from.size());
        if (!from.empty()) {
            memcpy(static_cast<void *>(data_ + size_), from.data(), from.size() * sizeof(T));
        }
        size_ += from.size();
    }
    void push(const T &value) { append(Span<const T>(&value, 1)); }
    void clear() { size_ = 0; }

    T *data() { return data_; }
    const T *data() const { return data_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    T &operator[](size_t i) { return data_[i]; }
    const T &operator[](size_t i) const { return data_[i]; }
    T *begin() { return data_; }
    T *end() { return data_ + size_; }
    const T *begin() const { return data_; }
    const T *end() const { return data_ + size_; }

    /* A copy: std::string of characters, std::vector of what has begin and end. */
    template <class S, class = decltype(S(static_cast<const T *>(nullptr),
                                          static_cast<const T *>(nullptr)))>
    explicit operator S() const
    {
        return S(begin(), end());
    }

private:
    void swap(Buffer &other)
    {
        Buffer *a = this;
        T *data = a->data_;
        size_t size = a->size_;
        size_t room = a->room_;
        a->data_ = other.data_;
        a->size_ = other.size_;
        a->room_ = other.room_;
        other.data_ = data;
        other.size_ = size;
        other.room_ = room;
    }
    void reserve(size_t count)
    {
        if (count <= room_) {
            return;
        }
        size_t room = count > 2 * room_ ? count : 2 * room_;
        void *memory = nullptr;
        if (room <= (SIZE_MAX / 2) / sizeof(T)) {
            size_t bytes = (room * sizeof(T) + DW_TENSOR_ALIGN - 1) / DW_TENSOR_ALIGN;
            memory = aligned_alloc(DW_TENSOR_ALIGN, bytes * DW_TENSOR_ALIGN);
        }
        if (memory == nullptr) {
            Error::of(DW_E_MEMORY, "out of memory").die("dw::Buffer");
        }
        if (size_ > 0) {
            memcpy(memory, static_cast<void *>(data_), size_ * sizeof(T));
        }
        free(data_);
        data_ = static_cast<T *>(memory);
        room_ = room;
    }

    T *data_ = nullptr;
    size_t size_ = 0;
    size_t room_ = 0;
};

using Tokens = Buffer<int32_t>;
using Floats = Buffer<float>;
using String = Buffer<char>;
using TokenSpan = Span<const int32_t>;

namespace detail {
/* Tokens where every device reads them: as they are, or a copy. */
class Aligned {
public:
    Aligned(TokenSpan tokens) : tokens_(tokens)
    {
        if (reinterpret_cast<uintptr_t>(tokens.data()) % DW_TENSOR_ALIGN != 0) {
            copy_ = Tokens::of(tokens);
            tokens_ = TokenSpan(copy_.data(), copy_.size());
        }
    }
    const int32_t *data() const { return tokens_.data(); }
    uint32_t count() const { return static_cast<uint32_t>(tokens_.size()); }

private:
    TokenSpan tokens_;
    Tokens copy_;
};

/* What `call(data, capacity)` writes, with as much room as it turns out to take. `told`: it leaves
 * the number needed in the first four bytes where the room is too small. */
template <class T, class Call>
Result<Buffer<T>> growing(size_t room, bool told, Call call)
{
    for (Buffer<T> out(room > 4 ? room : 4);;) {
        int32_t result = call(out.data(), static_cast<uint32_t>(out.size()));
        if (result >= 0) {
            out.resize(static_cast<size_t>(result));
            return out;
        }
        if (result != DW_E_SPACE || out.size() > (size_t{1} << 28)) {
            return Error::last(result);
        }
        uint32_t needed = 0;
        memcpy(&needed, out.data(), sizeof needed);
        out.resize(told ? needed : 2 * out.size());
    }
}

/* A handle of the host's, closed by `close` at the end. */
template <int32_t (*close)(int32_t)>
class Owned {
public:
    Owned() = default;
    explicit Owned(int32_t handle) : handle_(handle) {}
    Owned(Owned &&other) : handle_(other.release()) {}
    Owned &operator=(Owned &&other)
    {
        if (this != &other) {
            reset();
            handle_ = other.release();
        }
        return *this;
    }
    Owned(const Owned &) = delete;
    Owned &operator=(const Owned &) = delete;
    ~Owned() { reset(); }

    /* The number the host knows it by; 0: none. */
    int32_t handle() const { return handle_; }
    explicit operator bool() const { return handle_ != 0; }
    void reset()
    {
        if (handle_ != 0) {
            (void)close(release());
        }
    }
    /* The caller closes it. */
    int32_t release()
    {
        int32_t handle = handle_;
        handle_ = 0;
        return handle;
    }

protected:
    int32_t handle_ = 0;
};

/* A destructor cannot refuse: a generation that has the context still, ends. */
inline int32_t close_context(int32_t handle)
{
    int32_t result = dw_context_close(handle);
    if (result == DW_E_STATE) {
        (void)dw_generate_end(handle);
        result = dw_context_close(handle);
    }
    return result;
}
} // namespace detail

template <class T>
Result<T> owned(int32_t handle)
{
    return handle < 0 ? Result<T>(Error::last(handle)) : Result<T>(T(handle));
}

/* ---- the host ---------------------------------------------------------------------------------- */

inline int32_t abi_version() { return dw_abi_version(); }
inline uint64_t clock_ns() { return dw_clock_ns(); }
inline uint64_t host_copied_bytes() { return dw_host_copied_bytes(); }
inline Result<String> device_name()
{
    return detail::growing<char>(
        256, false, [](char *to, uint32_t room) { return dw_device_name(to, room); });
}
/* The next message from outside. DW_E_END: there are no more. */
inline Result<String> input()
{
    return detail::growing<char>(4096, false,
                                 [](char *to, uint32_t room) { return dw_input(to, room); });
}

/* ---- models ------------------------------------------------------------------------------------ */

using ModelInfo = dw_abi_model_info;
using SamplerParams = dw_sampler_params;

class Model : public detail::Owned<dw_model_close> {
public:
    using Owned::Owned;
    /* By a granted name; "": the first. */
    static Result<Model> open(Text name = {})
    {
        return owned<Model>(dw_model_open(name.data(), name.bytes()));
    }
    /* Granted models, and the name that opens the one of this index. */
    static uint32_t count() { return static_cast<uint32_t>(dw_model_count()); }
    static Result<String> name(uint32_t index)
    {
        return detail::growing<char>(256, false, [&](char *to, uint32_t room) {
            return dw_model_name(index, to, room);
        });
    }
    /* LoRA adapters that the host has loaded for it, and the name of the one of this index. */
    uint32_t lora_count() const
    {
        int32_t count = dw_lora_count(handle_);
        return count < 0 ? 0 : static_cast<uint32_t>(count);
    }
    Result<String> lora_name(uint32_t index) const
    {
        return detail::growing<char>(256, false, [&](char *to, uint32_t room) {
            return dw_lora_name(handle_, index, to, room);
        });
    }
    Result<ModelInfo> info() const
    {
        ModelInfo info{};
        int32_t result = dw_model_info(handle_, &info);
        return result < 0 ? Result<ModelInfo>(Error::last(result))
                          : Result<ModelInfo>(static_cast<ModelInfo &&>(info));
    }
    Result<Tokens> tokenize(Text text, uint32_t flags = DW_TOKENIZE_SPECIAL) const
    {
        return detail::growing<int32_t>(
            text.size() + 16, true, [&](int32_t *to, uint32_t room) {
                return dw_tokenize(handle_, text.data(), text.bytes(), to, room, flags);
            });
    }
    Result<String> detokenize(TokenSpan tokens, uint32_t flags = 0) const
    {
        return detail::growing<char>(
            tokens.size() * 16 + 16, false, [&](char *to, uint32_t room) {
                return dw_detokenize(handle_, tokens.data(), static_cast<uint32_t>(tokens.size()),
                                     to, room, flags);
            });
    }
    bool is_end(int32_t token) const { return dw_token_is_end(handle_, token) == 1; }
    Result<String> chat_template(Span<const dw_message> messages, bool open_answer = true) const
    {
        return detail::growing<char>(4096, false, [&](char *to, uint32_t room) {
            return dw_chat_template(handle_, messages.data(),
                                    static_cast<uint32_t>(messages.size()), open_answer ? 1 : 0, to,
                                    room);
        });
    }
    /* Requests are JSON (docs/guest-abi.md). */
    Result<String> chat_render(Text request) const
    {
        return detail::growing<char>(4096, true, [&](char *to, uint32_t room) {
            return dw_chat_render(handle_, request.data(), request.bytes(), to, room);
        });
    }
    Result<Tokens> chat_tokenize(Text request, uint32_t skip = 0) const
    {
        return detail::growing<int32_t>(1024, true, [&](int32_t *to, uint32_t room) {
            return dw_chat_tokenize(handle_, request.data(), request.bytes(), skip, to, room);
        });
    }
    Result<String> chat_parse(Text request, Text answer, uint32_t flags = 0) const
    {
        return detail::growing<char>(answer.size() + 1024, true, [&](char *to, uint32_t room) {
            return dw_chat_parse(handle_, request.data(), request.bytes(), answer.data(),
                                 answer.bytes(), flags, to, room);
        });
    }
    Result<String> chat_info(Text request) const
    {
        return detail::growing<char>(4096, true, [&](char *to, uint32_t room) {
            return dw_chat_info(handle_, request.data(), request.bytes(), to, room);
        });
    }
    /* [embedding_length], or with DW_POOLING_NONE a row for each token. */
    Result<Floats> embed(TokenSpan tokens, int32_t pooling = DW_POOLING_MODEL,
                         uint32_t flags = DW_EMBED_NORMALIZE) const
    {
        auto about = info();
        if (!about) {
            return about.error();
        }
        detail::Aligned aligned(tokens);
        Floats out(about->embedding_length * (pooling == DW_POOLING_NONE ? tokens.size() : 1));
        int32_t result = dw_embed(handle_, aligned.data(), aligned.count(), pooling, flags,
                                  out.data());
        return result < 0 ? Result<Floats>(Error::last(result))
                          : Result<Floats>(static_cast<Floats &&>(out));
    }
    /* Rows [tokens][embedding_length] of the model's table, for Context::forward_embeddings. */
    Result<Floats> token_embeddings(TokenSpan tokens) const
    {
        auto about = info();
        if (!about) {
            return about.error();
        }
        detail::Aligned aligned(tokens);
        Floats out(about->embedding_length * tokens.size());
        int32_t result =
            dw_token_embeddings(handle_, aligned.data(), aligned.count(), out.data());
        return result < 0 ? Result<Floats>(Error::last(result))
                          : Result<Floats>(static_cast<Floats &&>(out));
    }
    Result<int32_t> greedy(Span<const float> logits) const
    {
        return detail::number(dw_greedy(handle_, logits.data()));
    }
};

/* ---- sampling ---------------------------------------------------------------------------------- */

class Sampler : public detail::Owned<dw_sampler_close> {
public:
    using Owned::Owned;
    /* Of zeroed parameters: greedy. */
    static Result<Sampler> create(const Model &model, SamplerParams params = {})
    {
        params.struct_bytes = sizeof params;
        return owned<Sampler>(dw_sampler_create(model.handle(), &params));
    }
    static Result<Sampler> of_temperature(const Model &model, float temperature, uint64_t seed)
    {
        SamplerParams params{};
        params.temperature = temperature;
        params.seed = seed;
        return create(model, params);
    }
    Status logit_bias(Span<const dw_logit_bias> biases)
    {
        return detail::status(dw_sampler_logit_bias(handle_, biases.data(),
                                                    static_cast<uint32_t>(biases.size())));
    }
    Status dry_breakers(const Model &model, Span<const char *const> breakers)
    {
        return detail::status(dw_sampler_dry_breakers(handle_, model.handle(), breakers.data(),
                                                      static_cast<uint32_t>(breakers.size())));
    }
    /* GBNF; "": none. */
    Status grammar(const Model &model, Text text)
    {
        return detail::status(
            dw_sampler_grammar(handle_, model.handle(), text.data(), text.bytes()));
    }
    Status json_schema(const Model &model, Text schema)
    {
        return detail::status(
            dw_sampler_json_schema(handle_, model.handle(), schema.data(), schema.bytes()));
    }
    /* 1: it holds tool calls, or the answer, to the request's schemas. */
    Result<int32_t> chat(const Model &model, Text request)
    {
        return detail::number(
            dw_sampler_chat(handle_, model.handle(), request.data(), request.bytes()));
    }
    Status mask(Span<float> logits)
    {
        return detail::status(dw_sampler_mask(handle_, logits.data()));
    }
    Result<Sampler> fork(uint64_t seed = 0) const
    {
        return owned<Sampler>(dw_sampler_fork(handle_, seed));
    }
    Result<int32_t> sample(Span<const float> logits)
    {
        return detail::number(dw_sample(handle_, logits.data()));
    }
    Status accept(int32_t token) { return detail::status(dw_sampler_accept(handle_, token)); }
};

/* ---- contexts ---------------------------------------------------------------------------------- */

class Context;

/* A generation ahead of the guest: the device goes on while the guest looks at what there is.
 * Stays where it is until it has ended; its end is waited for, or brought about by its destructor. */
class Generation {
public:
    Generation(const Generation &) = delete;
    Generation &operator=(const Generation &) = delete;
    ~Generation()
    {
        if (going()) {
            (void)dw_generate_end(context_);
        }
    }
    explicit Generation(uint32_t tokens_max) : tokens_(tokens_max > 0 ? tokens_max : 1)
    {
        request.struct_bytes = sizeof request;
        request.tokens_max = tokens_max;
        request.tokens = tokens_.data();
        request.wake_tokens = 1;
    }
    /* What is asked for, beside prompt and tokens: set it before begin(). */
    dw_generate_request request{};

    /* May be called again once it has ended. */
    Status begin(const Context &context, const Sampler &sampler, TokenSpan prompt);
    bool going() const { return begun_ && request.end == DW_GENERATE_GOES_ON; }
    /* Until there is more, or the end. How many tokens there are. */
    Result<int32_t> wait() { return going() ? detail::number(dw_generate_wait(context_)) : whole(); }
    /* Ends it, if it goes on. How many tokens there are. */
    Result<int32_t> end() { return going() ? detail::number(dw_generate_end(context_)) : whole(); }
    /* Those chosen so far. */
    TokenSpan tokens() const { return TokenSpan(tokens_.data(), request.token_count); }
    /* The next token that was not taken yet. 0: the generation has ended, at an end token too, which
     * is not given. */
    Result<bool> next(const Model &model, int32_t *token)
    {
        while (taken_ >= request.token_count) {
            if (!going()) {
                return false;
            }
            auto count = wait();
            if (!count) {
                return count.error();
            }
        }
        *token = tokens_[taken_++];
        if (request.end == DW_GENERATE_END_TOKEN && taken_ == request.token_count &&
            model.is_end(*token)) {
            return false;
        }
        return true;
    }

private:
    /* Of one that has ended: the context may have another one by now. */
    Result<int32_t> whole() const { return static_cast<int32_t>(request.token_count); }

    Tokens tokens_;
    int32_t context_ = 0;
    uint32_t taken_ = 0;
    bool begun_ = false;
};

/* The likeliest tokens, the likeliest first. */
struct Top {
    Tokens tokens;
    Floats log_probabilities;
    int32_t length = 0; /* of the context */
};

class Context : public detail::Owned<detail::close_context> {
public:
    using Owned::Owned;
    /* tokens_max 0: as long as model and limits allow. */
    static Result<Context> create(const Model &model, uint32_t tokens_max = 0)
    {
        return owned<Context>(dw_context_create(model.handle(), tokens_max));
    }
    /* What was saved under the name, here or in another guest. */
    static Result<Context> open(const Model &model, Text name, uint32_t tokens_max = 0)
    {
        return owned<Context>(
            dw_context_open(model.handle(), name.data(), name.bytes(), tokens_max));
    }
    /* Under a name, in the place of what had it. */
    Status save(Text name) const
    {
        return detail::status(dw_context_save(handle_, name.data(), name.bytes()));
    }
    /* What was saved under the name; it needs the grant to save under it. */
    static Status remove(Text name)
    {
        return detail::status(dw_context_remove(name.data(), name.bytes()));
    }
    Result<Context> fork() const { return owned<Context>(dw_context_fork(handle_)); }
    /* Tokens held, and how many it can hold. 0 while a generation has it. */
    uint32_t length() const { return detail::count_of(dw_context_length(handle_)); }
    uint32_t capacity() const { return detail::count_of(dw_context_capacity(handle_)); }
    Status trim(uint32_t length) { return detail::status(dw_context_trim(handle_, length)); }
    Result<int32_t> shift(uint32_t keep, uint32_t drop)
    {
        return detail::number(dw_context_shift(handle_, keep, drop));
    }
    /* Holds its first `sink` tokens and at most `window` more from now on; 0 and 0: all. */
    Status window(uint32_t sink, uint32_t window)
    {
        return detail::status(dw_context_window(handle_, sink, window));
    }
    /* While it is empty: these adapters of its model, by index, each times its scale, which are as
     * many; none: no adapter. */
    Status set_loras(Span<const uint32_t> loras, Span<const float> scales)
    {
        return loras.size() != scales.size()
                   ? Status(Error::of(DW_E_ARG, "loras: as many scales are needed"))
                   : detail::status(dw_context_set_loras(handle_, loras.data(), scales.data(),
                                                         static_cast<uint32_t>(loras.size())));
    }
    /* Those that it has, into as many places as there are: how many. */
    Result<int32_t> loras(Span<uint32_t> loras, Span<float> scales) const
    {
        const size_t room = loras.size() < scales.size() ? loras.size() : scales.size();
        return detail::number(dw_context_loras(handle_, loras.data(), scales.data(),
                                               static_cast<uint32_t>(room)));
    }
    /* Keeps rows of logits of the last `count` tokens from now on. */
    Status keep_rows(uint32_t count) { return detail::status(dw_context_rows(handle_, count)); }
    /* The last token's row once more, where it is kept. */
    Result<int32_t> logits(Span<float> row) const
    {
        return detail::number(dw_context_logits(handle_, row.data()));
    }
    /* Appends tokens. `logits` is empty, or whole rows for the last tokens: `rows` of them. */
    Result<int32_t> forward(TokenSpan tokens, Span<float> logits = {}, uint32_t rows = 1)
    {
        detail::Aligned aligned(tokens);
        return detail::number(dw_forward_rows(handle_, aligned.data(), aligned.count(),
                                              logits.data(), logits.empty() ? 0 : rows));
    }
    /* [rows][embedding_length]. */
    Result<int32_t> forward_hidden(TokenSpan tokens, Span<float> hidden, uint32_t rows = 1)
    {
        detail::Aligned aligned(tokens);
        return detail::number(
            dw_forward_hidden(handle_, aligned.data(), aligned.count(), hidden.data(), rows));
    }
    /* Rows [count][embedding_length] in the place of tokens. */
    Result<int32_t> forward_embeddings(Span<const float> embeddings, uint32_t count,
                                       Span<float> logits = {}, uint32_t rows = 1)
    {
        return detail::number(dw_forward_embeddings(handle_, embeddings.data(), count,
                                                    logits.data(), logits.empty() ? 0 : rows));
    }
    /* Computes a tree of tokens behind the context; parents[i] is the earlier token that token i
     * hangs on, -1: the context's end. `logits`: rows for the last `rows` tokens, without a
     * number for all. For masks and positions of your own fill a dw_forward_tree_step, and call
     * dw_forward_tree. */
    Result<int32_t> forward_tree(TokenSpan tokens, TokenSpan parents, Span<float> logits = {},
                                 uint32_t rows = UINT32_MAX)
    {
        if (!parents.empty() && parents.size() != tokens.size()) {
            return Error::of(DW_E_ARG, "forward_tree: a parent for each token is needed");
        }
        detail::Aligned aligned(tokens);
        detail::Aligned aligned_parents(parents);
        dw_forward_tree_step step{};
        step.context = handle_;
        step.tokens = aligned.data();
        step.token_count = aligned.count();
        step.parents = parents.empty() ? nullptr : aligned_parents.data();
        step.rows = logits.data();
        step.row_count = logits.empty() ? 0 : rows < step.token_count ? rows : step.token_count;
        return detail::number(dw_forward_tree(&step));
    }
    /* Appends a path of the tree, and drops the rest. */
    Result<int32_t> keep(TokenSpan path)
    {
        return detail::number(
            dw_context_keep(handle_, path.data(), static_cast<uint32_t>(path.size())));
    }
    Result<Top> forward_top(TokenSpan tokens, uint32_t count)
    {
        detail::Aligned aligned(tokens);
        Top top;
        top.tokens.resize(count);
        top.log_probabilities.resize(count);
        top.length = dw_forward_top(handle_, aligned.data(), aligned.count(), top.tokens.data(),
                                    top.log_probabilities.data(), count);
        return top.length < 0 ? Result<Top>(Error::last(top.length))
                              : Result<Top>(static_cast<Top &&>(top));
    }
    /* Appends tokens and chooses the next one, which is not appended. */
    Result<int32_t> forward_sample(TokenSpan tokens, Sampler &sampler)
    {
        detail::Aligned aligned(tokens);
        return detail::number(
            dw_forward_sample(handle_, aligned.data(), aligned.count(), sampler.handle()));
    }
};

inline Status Generation::begin(const Context &context, const Sampler &sampler, TokenSpan prompt)
{
    if (going()) {
        return Error::of(DW_E_STATE, "the generation is under way");
    }
    detail::Aligned aligned(prompt); /* it is read at the beginning */
    request.prompt = aligned.data();
    request.prompt_count = aligned.count();
    context_ = context.handle();
    int32_t result = dw_generate_begin(context_, sampler.handle(), &request);
    begun_ = result >= 0;
    taken_ = 0;
    return detail::status(result);
}

/* Steps of different contexts in one run of the device; each has its own status. How many went
 * through. */
inline Result<int32_t> forward_many(Span<dw_forward_step> steps)
{
    return detail::number(dw_forward_many(steps.data(), static_cast<uint32_t>(steps.size())));
}

/* ---- text that comes token by token ------------------------------------------------------------ */

/* Calls `out(Text)` with whole UTF-8 characters only. */
class TextStream {
public:
    template <class Out>
    Status put(const Model &model, int32_t token, Out out)
    {
        auto piece = model.detokenize(TokenSpan(&token, 1));
        if (!piece) {
            return piece.error();
        }
        held_.append(*piece);
        size_t whole = held_.size() - unfinished();
        if (whole > 0) {
            out(Text(held_.data(), whole));
            String rest = String::of(Span<const char>(held_.data() + whole, held_.size() - whole));
            held_ = static_cast<String &&>(rest);
        }
        return {};
    }
    /* To standard output. */
    Status print(const Model &model, int32_t token)
    {
        return put(model, token, [](Text text) {
            (void)fwrite(text.data(), 1, text.size(), stdout);
            (void)fflush(stdout);
        });
    }

private:
    size_t unfinished() const
    {
        for (size_t back = 1; back <= 3 && back <= held_.size(); back++) {
            unsigned char byte = static_cast<unsigned char>(held_[held_.size() - back]);
            if ((byte & 0xc0) != 0x80) {
                size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
                return length > back ? back : 0;
            }
        }
        return 0;
    }
    String held_;
};

/* ---- JSON, as much as chats and tools need ------------------------------------------------------ */

namespace json {
/* Text as a string of JSON, with its quotes. */
inline String quote(Text text)
{
    String out;
    out.push('"');
    for (char c : text) {
        unsigned char byte = static_cast<unsigned char>(c);
        char escaped[8];
        if (c == '"' || c == '\\') {
            (void)snprintf(escaped, sizeof escaped, "\\%c", c);
        } else if (byte < 0x20) {
            (void)snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(byte));
        } else {
            out.push(c);
            continue;
        }
        out.append(Text(escaped));
    }
    out.push('"');
    return out;
}

namespace detail {
inline const char *blank(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
        at++;
    }
    return at;
}
/* Behind the value at `at`: of text that is JSON. */
inline const char *skip(const char *at, const char *end)
{
    int depth = 0;
    while (at < end) {
        if (*at == '"') {
            for (at++; at < end && *at != '"'; at++) {
                at += *at == '\\' ? 1 : 0;
            }
        } else if (*at == '{' || *at == '[') {
            depth++;
        } else if (*at == '}' || *at == ']') {
            depth--;
        }
        at = at < end ? at + 1 : end;
        if (depth <= 0 && (at >= end || at[-1] == '"' || at[-1] == '}' || at[-1] == ']' ||
                           *at == ',' || *at == '}' || *at == ']')) {
            return at;
        }
    }
    return end;
}
} // namespace detail

/* The member `key` of an object, as it is written; empty: it has none. */
inline Text member(Text object, Text key)
{
    const char *end = object.end();
    const char *at = detail::blank(object.begin(), end);
    if (at == end || *at != '{') {
        return {};
    }
    for (at = detail::blank(at + 1, end); at < end && *at == '"';) {
        const char *name = at;
        at = detail::skip(at, end);
        Text found(name + 1, static_cast<size_t>(at - name - 2));
        at = detail::blank(at, end);
        at = detail::blank(at < end ? at + 1 : end, end); /* : */
        const char *value = at;
        at = detail::skip(at, end);
        if (found == key) {
            return Text(value, static_cast<size_t>(at - value));
        }
        at = detail::blank(at, end);
        at = detail::blank(at < end ? at + 1 : end, end); /* , */
    }
    return {};
}
/* The item `index` of a list, as it is written; empty: there are fewer. */
inline Text item(Text list, size_t index)
{
    const char *end = list.end();
    const char *at = detail::blank(list.begin(), end);
    if (at == end || *at != '[') {
        return {};
    }
    for (at = detail::blank(at + 1, end); at < end && *at != ']'; index--) {
        const char *value = at;
        at = detail::skip(at, end);
        if (index == 0) {
            return Text(value, static_cast<size_t>(at - value));
        }
        at = detail::blank(at, end);
        at = detail::blank(at < end ? at + 1 : end, end);
    }
    return {};
}
namespace detail {
inline void put_utf8(String *out, uint32_t c)
{
    if (c < 0x80) {
        out->push(static_cast<char>(c));
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned char first[] = {0, 0xc0, 0xe0, 0xf0};
    out->push(static_cast<char>(first[more] | (c >> (6 * more))));
    while (more-- > 0) {
        out->push(static_cast<char>(0x80 | ((c >> (6 * more)) & 0x3f)));
    }
}
inline uint32_t hex4(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], 0};
    return static_cast<uint32_t>(strtoul(digits, nullptr, 16));
}
} // namespace detail
/* What a string of JSON says; of another value its text. */
inline String text(Text value)
{
    String out;
    if (value.size() < 2 || value[0] != '"') {
        out.append(value);
        return out;
    }
    for (size_t i = 1; i + 1 < value.size(); i++) {
        char c = value[i];
        if (c != '\\' || i + 2 >= value.size()) {
            out.push(c);
            continue;
        }
        c = value[++i];
        if (c == 'u' && i + 5 < value.size()) {
            uint32_t code = detail::hex4(&value[i + 1]);
            i += 4;
            if (code >= 0xd800 && code < 0xe000) { /* half of a pair, with the other or alone */
                bool first = code < 0xdc00 && i + 7 < value.size() && value[i + 1] == '\\' &&
                             value[i + 2] == 'u';
                uint32_t second = first ? detail::hex4(&value[i + 3]) : 0;
                bool pair = second >= 0xdc00 && second < 0xe000;
                code = pair ? 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00) : 0xfffd;
                i += pair ? 6 : 0;
            }
            detail::put_utf8(&out, code);
            continue;
        }
        out.push(c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b'
                 : c == 'f' ? '\f' : c);
    }
    return out;
}
} // namespace json

/* ---- chats ------------------------------------------------------------------------------------- */

/* Writes text to standard output, at once. */
inline void print(Text text)
{
    (void)fwrite(text.data(), 1, text.size(), stdout);
    (void)fflush(stdout);
}

/* A conversation whose context keeps what it has computed: an answer costs the tokens that are new.
 * Needs a model with a chat template. */
class Chat {
public:
    /* `options`: further members of the requests, as "\"tools\":[...],\"tool_choice\":\"auto\"". */
    explicit Chat(const Model &model, SamplerParams params = {}, Text options = {})
        : model_(&model), params_(params), options_(String::of(options))
    {
    }
    Status add(Text role, Text content)
    {
        String message;
        message.append(Text("{\"role\":"));
        message.append(json::quote(role));
        message.append(Text(",\"content\":"));
        message.append(json::quote(content));
        message.push('}');
        return add_json(message);
    }
    /* A message as an object of JSON: a tool's answer with its name, for example. */
    Status add_json(Text message)
    {
        if (!messages_.empty()) {
            messages_.push(',');
        }
        messages_.append(message);
        return {};
    }
    void set_options(Text options) { options_ = String::of(options); }
    /* Has the model answer, gives its text to `out(Text)` as it comes, and adds the answer to the
     * conversation. The answer as JSON: "role", "content", "tool_calls" if there are some. */
    template <class Out>
    Result<String> answer(uint32_t tokens_max, Out out)
    {
        String request = this->request();
        auto tokens = model_->chat_tokenize(request);
        if (!tokens) {
            return tokens.error();
        }
        Status ready = prepare(*tokens, request);
        if (!ready) {
            return ready.error();
        }
        uint32_t same = held_in_common(*tokens);
        Status trimmed = context_.trim(same);
        if (!trimmed) {
            return trimmed.error();
        }
        Generation speech(tokens_max);
        held_.resize(same);
        Status begun = speech.begin(context_, sampler_,
                                    TokenSpan(tokens->data() + same, tokens->size() - same));
        if (!begun) {
            return begun.error();
        }
        String said;
        TextStream stream;
        int32_t token = 0;
        for (;;) {
            auto more = speech.next(*model_, &token);
            if (!more) {
                return more.error();
            }
            if (!*more) {
                break;
            }
            auto piece = model_->detokenize(TokenSpan(&token, 1), DW_DETOKENIZE_SPECIAL);
            if (!piece) {
                return piece.error();
            }
            said.append(*piece);
            Status put = stream.put(*model_, token, out);
            if (!put) {
                return put.error();
            }
        }
        held_.append(TokenSpan(tokens->data() + same, tokens->size() - same));
        TokenSpan chosen = speech.tokens();
        if (!chosen.empty()) {
            held_.append(chosen.part(0, chosen.size() - 1)); /* the last is not in the context */
        }
        auto message = model_->chat_parse(request, said);
        if (message) {
            (void)add_json(*message);
        }
        return message;
    }
    const Context &context() const { return context_; }

private:
    String request() const
    {
        String out;
        out.append(Text("{\"messages\":["));
        out.append(messages_);
        out.push(']');
        if (!options_.empty()) {
            out.push(',');
            out.append(options_);
        }
        out.push('}');
        return out;
    }
    Status prepare(const Tokens &tokens, Text request)
    {
        if (!context_) {
            auto context = Context::create(*model_);
            if (!context) {
                return context.error();
            }
            context_ = context.take();
        }
        auto sampler = Sampler::create(*model_, params_);
        if (!sampler) {
            return sampler.error();
        }
        sampler_ = sampler.take();
        for (int32_t token : tokens) {
            Status accepted = sampler_.accept(token);
            if (!accepted) {
                return accepted;
            }
        }
        auto held = sampler_.chat(*model_, request);
        return held ? Status() : Status(held.error());
    }
    uint32_t held_in_common(const Tokens &tokens) const
    {
        uint32_t same = 0;
        while (same < held_.size() && same + 1 < tokens.size() && held_[same] == tokens[same]) {
            same++;
        }
        return same;
    }

    const Model *model_;
    SamplerParams params_;
    String options_;
    String messages_; /* objects of JSON, with commas between */
    Context context_;
    Sampler sampler_;
    Tokens held_; /* what the context holds */
};

/* ---- tools of the host's ----------------------------------------------------------------------- */

/* A granted tool's answer to the request. */
inline Result<String> call(Text name, Text request)
{
    String answer(4096);
    int32_t result = dw_call(name.data(), name.bytes(), request.data(), request.bytes(),
                             answer.data(), static_cast<uint32_t>(answer.size()));
    if (result != DW_E_SPACE) {
        if (result < 0) {
            return Error::last(result);
        }
        answer.resize(static_cast<size_t>(result));
        return answer;
    }
    return detail::growing<char>(size_t{1} << 16, false, [](char *to, uint32_t room) {
        return dw_call_answer(to, room);
    });
}

/* ---- actors ------------------------------------------------------------------------------------ */

/* DW_ACTOR_RECEIVE { ... } of driftwood_guest.h defines what an actor does with a message. */

struct ActorId {
    char text[DW_ACTOR_ID_BYTES] = "";
    const char *data() const { return text; }
    size_t size() const { return strlen(text); }
};

namespace detail {
inline Result<ActorId> id(ActorId id, int32_t result)
{
    return result < 0 ? Result<ActorId>(Error::last(result)) : Result<ActorId>(ActorId(id));
}
} // namespace detail

namespace actor {
inline Result<ActorId> id()
{
    ActorId id;
    int32_t result = dw_actor_id(id.text, sizeof id.text);
    return detail::id(id, result);
}
/* "": from outside. */
inline Result<ActorId> message_from()
{
    ActorId id;
    int32_t result = dw_message_from(id.text, sizeof id.text);
    return detail::id(id, result);
}
inline Status reply(Text bytes) { return detail::status(dw_reply(bytes.data(), bytes.bytes())); }
/* The message is answered later: the ticket for reply_to. */
inline Result<int64_t> reply_later()
{
    int64_t ticket = dw_reply_later();
    return ticket < 0 ? Result<int64_t>(Error::last(static_cast<int32_t>(ticket)))
                      : Result<int64_t>(static_cast<int64_t &&>(ticket));
}
/* `last`: the answer is whole. */
inline Status reply_to(int64_t ticket, Text bytes, bool last)
{
    return detail::status(
        dw_reply_to(ticket, bytes.data(), bytes.bytes(), last ? DW_REPLY_LAST : 0));
}
inline Status send(Text to, Text message)
{
    return detail::status(dw_actor_send(to.data(), to.bytes(), message.data(), message.bytes()));
}
/* DW_MESSAGE_PLAIN, or DW_MESSAGE_WATCH: the host's word about an actor that is watched. */
inline int32_t message_kind() { return dw_message_kind(); }
/* A message once that actor has ended or could not be made; events DW_WATCH_ON_*: also when that
 * happens. */
inline Status watch(Text whom, uint32_t events = 0)
{
    return detail::status(dw_actor_watch(whom.data(), whom.bytes(), events));
}
inline Status unwatch(Text whom)
{
    return detail::status(dw_actor_unwatch(whom.data(), whom.bytes()));
}
/* guest "": this actor's own. */
inline Result<ActorId> spawn(Text guest, Text message)
{
    ActorId id;
    int32_t result = dw_actor_spawn(guest.data(), guest.bytes(), message.data(), message.bytes(),
                                    id.text, sizeof id.text);
    return detail::id(id, result);
}
inline Result<ActorId> fork(Text message)
{
    ActorId id;
    int32_t result = dw_actor_fork(message.data(), message.bytes(), id.text, sizeof id.text);
    return detail::id(id, result);
}
inline Status timer(uint64_t wait_ms, Text message)
{
    return detail::status(dw_actor_timer(wait_ms, message.data(), message.bytes()));
}
inline Status join(Text group)
{
    return detail::status(dw_group_join(group.data(), group.bytes()));
}
inline Status leave(Text group)
{
    return detail::status(dw_group_leave(group.data(), group.bytes()));
}
inline Status stop() { return detail::status(dw_actor_stop()); }

/* In DW_ACTOR_STATE and DW_ACTOR_UPGRADE. */
inline Status give_state(Text bytes)
{
    return detail::status(dw_state_give(bytes.data(), bytes.bytes()));
}
inline Result<String> take_state()
{
    int64_t bytes = dw_state_bytes();
    if (bytes < 0) {
        return Error::last(static_cast<int32_t>(bytes));
    }
    String all(static_cast<size_t>(bytes));
    size_t taken = 0;
    while (taken < all.size()) {
        int32_t more =
            dw_state_take(all.data() + taken, static_cast<uint32_t>(all.size() - taken));
        if (more < 0) {
            return Error::last(more);
        }
        if (more == 0) {
            break;
        }
        taken += static_cast<size_t>(more);
    }
    all.resize(taken);
    return all;
}
template <class T>
Result<T> keep(int32_t handle)
{
    int32_t result = dw_handle_keep(handle);
    return result < 0 ? Result<T>(Error::last(result)) : Result<T>(T(handle));
}
} // namespace actor

/* ---- tensor graphs ----------------------------------------------------------------------------- */

/* Over memory of the guest's, which must stay: docs/guest-abi-tensors.md. */
class Graph : public detail::Owned<dw_graph_destroy> {
public:
    using Owned::Owned;
    struct Sizes {
        uint32_t ne[DW_MAX_DIMS] = {1, 1, 1, 1};
        Sizes(uint32_t n0, uint32_t n1 = 1, uint32_t n2 = 1, uint32_t n3 = 1) : ne{n0, n1, n2, n3}
        {
        }
    };
    static Result<Graph> create() { return owned<Graph>(dw_graph_create()); }
    Result<int32_t> tensor(dw_type type, Sizes sizes, const void *data)
    {
        return detail::number(dw_graph_tensor(handle_, type, sizes.ne, data));
    }
    Result<int32_t> op(dw_op what, int32_t a, int32_t b = 0, int32_t c = 0, int32_t d = 0)
    {
        int32_t inputs[] = {a, b, c, d};
        return detail::number(dw_graph_op(handle_, what, inputs, nullptr));
    }
    Result<int32_t> op(dw_op what, const int32_t (&inputs)[4], const dw_op_params &params)
    {
        return detail::number(dw_graph_op(handle_, what, inputs, &params));
    }
    Status output(int32_t tensor, void *data)
    {
        return detail::status(dw_graph_output(handle_, tensor, data));
    }
    Result<dw_shape> shape(int32_t tensor) const
    {
        dw_shape shape{};
        int32_t result = dw_tensor_shape(handle_, tensor, &shape);
        return result < 0 ? Result<dw_shape>(Error::last(result))
                          : Result<dw_shape>(static_cast<dw_shape &&>(shape));
    }
    Status build() { return detail::status(dw_graph_build(handle_)); }
    Status run() { return detail::status(dw_graph_run(handle_)); }
};

} // namespace dw

#endif
