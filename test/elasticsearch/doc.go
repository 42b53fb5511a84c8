// Package elasticsearch holds tests only: the source that reads Elasticsearch, and the
// export of the journal to it, against real servers. See README.md.
package elasticsearch
