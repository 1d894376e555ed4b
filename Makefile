# hpcbert: `make demo` and `make test` do everything on a fresh Debian machine with Go.
#
#   make            build bin/*
#   make deps       install what is missing from Debian, or print the line that does
#   make demo       the whole road on the bundled corpus: dump, text, shards, HDF5, two ranks train a small BERT, loss curve
#   make real       the same on the real English dump of DATA
#   make test       lint, build, all tests that fit into ten minutes on two cores
#   make test-slow  what takes longer, and the kernels on 64-bit Arm
#   make test-arm64 the kernels cross-compiled for 64-bit Arm and tested under qemu
#   make test-avx512 the kernels with AVX-512 and its bfloat16 instructions, emulated by BOCHS=program (test/avx512.sh says which)
#   make test-overlap  how well sums of gradients hide behind computing, over a throttled link between two network namespaces (needs root)
#   make test-ranks DATA=FOLDER  speed of two ranks beside that of two threads of one, BERT base (some ten minutes)
#   make test-slurm a four-node Slurm on this machine: sub/*.sub submitted, signalled at the time limit, requeued (needs root)
#   make lint       gofmt, go vet, staticcheck, shellcheck, gcc -Wall -Wextra -Werror
#   make bench      speed of every operation and of training steps on this CPU, % of its ceilings: a table, and build/bench.csv
#   make bench-torch  the same training data through bertrain and through PyTorch, in turns (skips without torch and transformers)
#   make bench-infer  inference by size of batch, beside ONNX Runtime's, in turns (skips without onnxruntime, torch and transformers)
#   make bench-finetune DATA=FOLDER MODEL=FOLDER  fine-tuning on MRPC and SST-2 beside PyTorch's, in turns (skips without torch and transformers)
#   make bench-data DATA=FOLDER  speed of the data programs beside that of the original's, in turns: a table, and build/bench-data.tsv
#   make install    copy programs, manual pages, configurations and job scripts below PREFIX
#
# Variables: DATA=folder of real data for the checks that need it (skipped without), MINILM=folder of real BERT weights, PREFIX=/usr/local,
# BENCH=options of the program of bench (--help lists them), bench-torch or bench-infer, PYTHON=interpreter that has the peers,
# NVIDIA_BERT=folder of the original's programs (bench-data).

PREFIX ?= /usr/local
DATA ?=
MINILM ?=
BENCH ?=
PYTHON ?= python3
export HPCBERT_DATA := $(if $(DATA),$(abspath $(DATA)))
export HPCBERT_MINILM := $(if $(MINILM),$(abspath $(MINILM)))
export HPCBERT_PYTHON := $(PYTHON)
export CGO_ENABLED := 1
unexport DATA MINILM

GO ?= go
CXX ?= g++
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
TOOLS := $(notdir $(wildcard tools/*))
SCRIPTS := $(wildcard test/*.sh test/bench/*.sh sub/*.sh sub/*.sub) .ci/run
PACKAGES := gcc g++ pkg-config libopenmpi-dev openmpi-bin libhdf5-dev shellcheck python3-h5py
ARM64_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
AVX512_PACKAGES := busybox-static isolinux syslinux-common xorriso cpio
SLURM_PACKAGES := slurmctld slurmd slurm-client munge
SUDO := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

.PHONY: all build deps demo real test test-slow test-arm64 test-avx512 test-overlap test-ranks test-slurm lint bench bench-torch bench-infer bench-finetune bench-data install clean

all: build

# go build decides itself what is out of date.
build: deps
	$(GO) build -ldflags '-X hpcbert/lib/cli.Version=$(VERSION)' -o bin/ ./tools/...

.PHONY: cudahost
cudahost: build/libhpcbert_cudahost.so

build/libhpcbert_cudahost.so: $(wildcard kernels/*.cu kernels/*.cuh kernels/ops.h kernels/host/*) | deps
	@mkdir -p build
	$(CXX) -std=c++17 -O2 -fPIC -shared -Wall -Wextra -Werror -x c++ -Ikernels/host -Ikernels $(wildcard kernels/*.cu kernels/host/*.cc) -o $@

deps:
	@missing=; for p in $(PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] && exit 0; \
	command -v apt-get >/dev/null || { echo "make: please install what Debian calls:$$missing" >&2; exit 0; }; \
	if [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null; then \
		echo "make: installing$$missing"; \
		$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
		echo "make: these packages are missing; install them with: sudo apt-get install$$missing" >&2; exit 1; \
	fi

demo: build
	test/demo.sh

real: build
	test/real.sh "$(DATA)"

test: lint build cudahost
	$(GO) test ./...
	@$(GO) test -count=1 -run '^TestInstructionSets$$' -v ./kernels | sed -n 's/^.*: kernels tested on/make: kernels tested on/p'

test-slow: build cudahost test-arm64
	HPCBERT_SLOW=1 $(GO) test -timeout 60m ./...

# Says that it is skipped where the packages cannot be had.
test-arm64:
	-@$(MAKE) -s deps PACKAGES='$(ARM64_PACKAGES)'
	test/arm64.sh

test-avx512:
	-@$(MAKE) -s deps PACKAGES='$(AVX512_PACKAGES)'
	test/avx512.sh

test-overlap: build
	test/overlap.sh

test-ranks: build
	test/ranks.sh "$(HPCBERT_DATA)"

test-slurm: build
	-@$(MAKE) -s deps PACKAGES='$(SLURM_PACKAGES)'
	HPCBERT_SLOW=1 $(GO) test -count=1 -timeout 60m -run '^Test(Readme)?Slurm' -v ./test

lint: deps
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt: $$out" >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	shellcheck $(SCRIPTS)
	@for f in kernels/*.c; do $(CC) -std=gnu11 -O2 -Wno-psabi -Wall -Wextra -Werror -c -o /dev/null $$f || exit 1; done

bench: deps
	$(GO) build -ldflags '-X hpcbert/lib/cli.Version=$(VERSION)' -o build/bench ./test/bench
	build/bench $(BENCH)

bench-torch: build
	test/bench-torch.sh "$(PYTHON)" "$(DATA)" $(BENCH)

bench-infer: build
	$(GO) build -ldflags '-X hpcbert/lib/cli.Version=$(VERSION)' -o build/bench ./test/bench
	test/bench-infer.sh "$(PYTHON)" "$(DATA)" $(BENCH)

bench-finetune: build
	test/bench-finetune.sh "$(PYTHON)" "$(DATA)" "$(MODEL)" $(BENCH)

bench-data: build
	test/bench-data.sh "$(PYTHON)" "$(DATA)"

install: build
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin share/man/man1 share/hpcbert/model share/hpcbert/recipe share/hpcbert/machine share/hpcbert/glue share/hpcbert/squad share/hpcbert/sub)
	install -m 755 $(addprefix bin/,$(TOOLS)) $(DESTDIR)$(PREFIX)/bin
	for d in model recipe machine glue squad; do install -m 644 configs/$$d/*.json $(DESTDIR)$(PREFIX)/share/hpcbert/$$d || exit 1; done
	install -m 755 sub/*.sub sub/*.sh $(DESTDIR)$(PREFIX)/share/hpcbert/sub
	@for t in $(TOOLS); do SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 0) bin/$$t --man > $(DESTDIR)$(PREFIX)/share/man/man1/$$t.1 || exit 1; done

clean:
	rm -rf bin build demo real
