#!/bin/sh
# Coverage-guided fuzzing of the addon's packet code with libFuzzer, for FUZZ_SECONDS. Needs clang and its runtime
# (Debian: clang libclang-rt-dev); without them it says so and does nothing.
set -eu
cd "$(dirname "$0")/../../.."

clang=''
for name in clang++ clang++-19 clang++-16 clang++-14; do
  if command -v "$name" >/dev/null 2>&1; then clang=$name && break; fi
done
if [ -z "$clang" ]; then
  echo "clang++ is not installed: no coverage-guided fuzzing of the packet code"
  exit 0
fi

folder=.cache/fuzz
headers=$(ls -d node_modules/node-linux-*/include/node | head -n 1)
mkdir -p "$folder/corpus"
"$clang" -std=c++17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -I "$headers" \
  test/fuzz/native/packets-fuzzer.cc -o "$folder/packets-fuzzer"
node_modules/.bin/node test/fuzz/native/write-corpus.ts "$folder/corpus"
status=0
"$folder/packets-fuzzer" -max_total_time="${FUZZ_SECONDS:-30}" -max_len=8192 -print_final_stats=1 \
  -artifact_prefix="$folder/" "$folder/corpus" >"$folder/log" 2>&1 || status=$?
if [ "$status" -eq 0 ]; then grep -E '^(Done|stat::)' "$folder/log"; else tail -n 60 "$folder/log"; fi
exit "$status"
