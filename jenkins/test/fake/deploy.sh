#!/bin/sh
# Stands in for the deploy and rollback scripts of the examples.
printf '%s\n' "$(basename "$0") $*" >> "$FAKE_DIR/calls"
