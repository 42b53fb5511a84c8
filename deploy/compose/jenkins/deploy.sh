#!/bin/sh
# deploy.sh canary VERSION | everywhere VERSION | back
exec shop deploy "$@"
