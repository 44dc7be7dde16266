# Driftwood: `make run` sets up all that is missing, builds, and lets a guest generate text.
BUILD ?= build
PREFIX ?= /usr/local
PROMPT ?= Write two sentences about driftwood on a beach.
DEV ?=
GENERATOR ?= Ninja

CONFIGURE = cmake -S . -G $(GENERATOR) -DDEV=$(if $(DEV),ON,OFF) $(CMAKE_FLAGS)
CTEST = ctest --output-on-failure -j $${JOBS:-$$(getconf _NPROCESSORS_ONLN)}
DEPS_PREFIX = $(CURDIR)/build/prefix
# Traces need lines, not types: -g1.
ASAN_FLAGS = -DDRIFTWOOD_SANITIZE=address -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 -DCMAKE_C_FLAGS_DEBUG=-g1
ASAN_BUILD = build/asan
TSAN_BUILD = build/tsan
FUZZ_BUILD = build/fuzz-build
FUZZ_SECONDS ?= $(if $(DW_TEST_SHORT),4,10)
TORTURE_SECONDS ?= 60

.PHONY: all
all: prepare compile

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install missing system packages
	@scripts/setup

.PHONY: prepare
prepare:
	@scripts/prepare

.PHONY: deps
deps: prepare ## fetch and build ggml, libllama and Wasmtime into build/prefix

.PHONY: update-wasmtime
update-wasmtime: ## move Wasmtime to its newest release and run every test
	@scripts/update-wasmtime

.PHONY: model
model: ## fetch the default model
	@scripts/fetch-model

.PHONY: compile
compile:
	@mkdir -p $(BUILD)
	@$(CONFIGURE) -B $(BUILD) -DDRIFTWOOD_PREFIX=$(DEPS_PREFIX) >$(BUILD)/configure.log 2>&1 || \
	    { tail -20 $(BUILD)/configure.log >&2; exit 1; }
	@NINJA_STATUS='[%f/%t] ' cmake --build $(BUILD) $(if $(TARGETS),--target $(TARGETS)) \
	    -j $${JOBS:-$$(getconf _NPROCESSORS_ONLN)}

.PHONY: prepare-all
prepare-all:
	@scripts/prepare --model

.PHONY: run
run: prepare-all ## set up, build, and let a guest generate text
	@$(MAKE) --no-print-directory compile TARGETS=driftwood
	$(BUILD)/driftwood run --prompt "$(PROMPT)"

# What some tests use and skip without: a machine without a network runs the others.
.PHONY: test-packages
test-packages: prepare-all
	@scripts/fetch-safetensors || true
	@scripts/fetch-chat-templates || true
	@scripts/fetch-quickjs || true
	@scripts/fetch-pocketpy || true
	@scripts/fetch-zig >/dev/null || true
	@rustup target add wasm32-wasip1 >/dev/null 2>&1 || true

.PHONY: test
test: test-packages ## set up, build and run every test
	@$(MAKE) --no-print-directory compile
	@cd $(BUILD) && mkdir -p Testing/Temporary && rm -f Testing/Temporary/summary && \
	    { $(CTEST); echo $$? >Testing/Temporary/status; } 2>&1 | tee Testing/Temporary/output && \
	    { grep -A3 'tests passed' Testing/Temporary/output >Testing/Temporary/summary || true; } && \
	    exit $$(cat Testing/Temporary/status)

# What takes minutes there: numbers over whole models, vocabularies and hundreds of templates, and a
# program started a hundred times. Other tests, and fuzzing, go through the same code. SANITIZERS_LEAVE_OUT='^$$': all.
WHOLE_MODELS = test_(parity|score|same_bits|adapters|actor_moves|actor_rounds|architectures|device_moves|grammar|tokenize|runtime_chat(_guest_threads)?|serve_(responses|others|terms|models))
MANY_STARTS = test_cli|test_new|test_actor_cli|test_actor_served|test_output|test_options|check_docs|check_bench
SANITIZERS_LEAVE_OUT ?= ^($(WHOLE_MODELS)|$(MANY_STARTS)|check_json_schema|check_chat_.*|check_tool_calls)$$|_staged$$
# Under DW_TEST_SHORT (.ci/run) moreover what another stage goes through as well: threads are check-tsan's;
# templates and chats fuzz_jinja's and fuzz_chat_answer's; emulated device memory is in
# test_snapshot_in_ranges, models that come and go in test_model_pool, routes and what clients send in test_serve_malformed
# and test_serve_actors; what freezes write, and time, is counted without, series are test_series_index's,
# prefixes test_runtime_prefixes' and test_prefix_folder's;
# guests of other compilers make the calls of those in C; encoders, adapters and guest/examples are
# numbers over whole models, as what steps in parts give is; grammars are fuzz_grammar's and fuzz_json_schema's, and two torture
# programs fuzz targets; what begins ahead does so in test_batch_ahead; processes that are killed and
# disks that fail are torture_kills' and torture_disk's, hostile guests torture_runtime's.
ASAN_THREADS = test_(generation|runtime|scheduler|scheduler_actors)_(device|guest)_threads?|test_scheduler_device_thread|test_small_threads
ASAN_RANGES = test_(context_fork|context_shift|actor|actor_state|golden)_in_ranges
ASAN_ELSEWHERE = test_(chat|chat_jinja|chat_served|deadline|embeddings|freeze_bytes|generation|kv_vram|prefix_cache|step_parts|scheduler_encoders|guest_programs|sdk_.*|serve|serve_pool|serve_shapes|lora|request_faults|request_kills|runtime_faults|runtime_former|runtime_hostile|runtime_left_overs|deadline_random|grammar_ways|json_grammar|generation_ahead|generate_abi_ahead|scheduler_ahead)|torture_host_calls|torture_tokenize
ifdef DW_TEST_SHORT
ASAN_LEAVE_OUT = |^($(ASAN_THREADS)|$(ASAN_RANGES)|$(ASAN_ELSEWHERE))$$
endif
.PHONY: check-asan
check-asan: test-packages ## tests under AddressSanitizer, UBSan and LeakSanitizer
	@$(MAKE) --no-print-directory compile BUILD=$(ASAN_BUILD) \
	    CMAKE_FLAGS="$(ASAN_FLAGS)"
	cd $(ASAN_BUILD) && $(CTEST) -E '$(SANITIZERS_LEAVE_OUT)$(ASAN_LEAVE_OUT)'

.PHONY: check-tsan
check-tsan: test-packages ## tests under ThreadSanitizer
	@$(MAKE) --no-print-directory compile BUILD=$(TSAN_BUILD) \
	    CMAKE_FLAGS="-DDRIFTWOOD_SANITIZE=thread"
	cd $(TSAN_BUILD) && $(CTEST) -E '$(SANITIZERS_LEAVE_OUT)'

# With sanitizers; TORTURE_BUILD=build: the plain build, whose rounds are ten times as many.
TORTURE_BUILD ?= $(ASAN_BUILD)
.PHONY: torture
torture: prepare-all ## random host calls, handles, snapshots, kills, failing disks: TORTURE_SECONDS each
	@$(MAKE) --no-print-directory compile BUILD=$(TORTURE_BUILD) TARGETS=torture_programs $(if $(filter $(ASAN_BUILD),$(TORTURE_BUILD)), \
	    CMAKE_FLAGS="$(ASAN_FLAGS) $(CMAKE_FLAGS)")
	@scripts/torture $(TORTURE_BUILD)/torture $(TORTURE_SECONDS) $(TORTURE)

.PHONY: bench
bench: prepare-all compile ## measure against llama.cpp, into bench/results
	@python3 bench/table.py $(BUILD) build/bench-models bench/results/cpu.md
	@python3 bench/state.py $(BUILD) build/bench-models bench/results/state.md

.PHONY: check-models
check-models: prepare-all compile ## tests on two more real models, which are fetched (330 MB)
	@scripts/fetch-test-models build/models
	DW_TEST_MODEL=build/models/gemma-3-270m-q4_k_m.gguf $(BUILD)/tests/test_parity
	DW_TEST_ENCODER=build/models/all-MiniLM-L6-v2.gguf $(BUILD)/tests/test_embeddings

.PHONY: check-openapi
check-openapi: prepare-all compile ## the server by what its OpenAPI document says of it, with schemathesis, which is fetched
	@scripts/check-openapi $(BUILD)

.PHONY: check-clients
check-clients: prepare-all compile ## the server with client libraries and agents, which are fetched
	@scripts/check-clients $(BUILD)

.PHONY: check-page
check-page: prepare-all compile ## the server's dashboard in Chromium; IMAGES=DIR keeps what it looks like
	@scripts/check-page $(BUILD) $(IMAGES)

# Everything again beside the build without CUDA, which stays as it is.
CUDA_BUILD ?= build/cuda
.PHONY: cuda
cuda: prepare ## build with CUDA (12 or 13) into build/cuda
	@scripts/build-deps --prefix $(CURDIR)/build/prefix-cuda --build $(CURDIR)/build/deps-cuda \
	    --llama-from $(DEPS_PREFIX) -DDRIFTWOOD_CUDA=ON \
	    $(if $(CUDA_ARCHITECTURES),"-DCMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURES)")
	@cp $(DEPS_PREFIX)/lib/*wasmtime* build/prefix-cuda/lib/
	@cp -R $(DEPS_PREFIX)/include/*wasm* $(DEPS_PREFIX)/include/*wasi* build/prefix-cuda/include/
	@$(MAKE) --no-print-directory compile BUILD=$(CUDA_BUILD) \
	    DEPS_PREFIX=$(CURDIR)/build/prefix-cuda CMAKE_FLAGS="-DDRIFTWOOD_CUDA=ON $(CMAKE_FLAGS) \
	    $(if $(CUDA_ARCHITECTURES),-DCMAKE_CUDA_ARCHITECTURES='$(CUDA_ARCHITECTURES)')"

.PHONY: check-vulkan
check-vulkan: prepare-all ## build with Vulkan and run the doctor on Mesa's software driver
	@scripts/check-vulkan

.PHONY: check-cross
check-cross: prepare ## compile for macOS and Linux on arm64, run arm64 tests under qemu
	@scripts/check-cross

.PHONY: fuzz-smoke
fuzz-smoke: prepare-all ## each fuzz target for FUZZ_SECONDS
	@scripts/fuzz-smoke --setup
	@CC=clang CXX=clang++ $(MAKE) --no-print-directory compile BUILD=$(FUZZ_BUILD) TARGETS=fuzz_targets \
	    CMAKE_FLAGS="-DDRIFTWOOD_FUZZ=ON -DDRIFTWOOD_TESTS=OFF -DCMAKE_BUILD_TYPE=Debug \
	    -DCMAKE_C_FLAGS_DEBUG='-O1 -g1' -DCMAKE_CXX_FLAGS_DEBUG='-O1 -g1'"
	@scripts/fuzz-smoke $(FUZZ_BUILD) $(FUZZ_SECONDS)

.PHONY: tidy
tidy: ## the house rules: sizes, banned functions, include order, formatting
	@python3 scripts/tidy.py

.PHONY: format
format: ## clang-format over our sources
	@python3 scripts/tidy.py --format

.PHONY: install
install: all ## install under PREFIX (and DESTDIR)
	@cmake --install $(BUILD) --prefix $(PREFIX)

.PHONY: clean
clean: ## remove what was built of our own; `rm -rf build` removes the dependencies too
	@[ ! -f $(BUILD)/build.ninja ] || cmake --build $(BUILD) --target clean
	@rm -rf $(ASAN_BUILD) $(TSAN_BUILD) $(FUZZ_BUILD)
