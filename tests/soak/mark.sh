#!/bin/sh
# The commit that a record names: with -dirty when anything outside this folder was changed.
set -eu
cd "$(dirname "$0")/../.."
commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- . ':!tests/soak' || commit=$commit-dirty
echo "$commit"
