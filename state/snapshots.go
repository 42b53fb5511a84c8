package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	snapshotBucket = "gatewarden_snapshots"
	// chunkSize keeps a chunk under the 1 MiB that a NATS server takes by default. Each
	// chunk is an fsync, so a small one makes a large snapshot slow.
	chunkSize = 512 << 10
)

// Snapshots keeps the latest blob by name. Blobs may be tens of megabytes.
type Snapshots struct {
	js     jetstream.JetStream
	bucket jetstream.ObjectStore
}

// Snapshots opens the place for snapshots and clears away what a crash in the
// middle of a Put may have left there.
func (s *State) Snapshots(ctx context.Context) (*Snapshots, error) {
	bucket, err := s.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
		Bucket:      snapshotBucket,
		Description: "gatewarden: what the store has counted",
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the snapshots: %w", err)
	}
	snapshots := &Snapshots{js: s.js, bucket: bucket}
	if err := snapshots.sweep(ctx); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "clearing half-written snapshots away: %w", err)
	}
	return snapshots, nil
}

// Put replaces the blob of that name. It becomes visible as a whole when it is
// durable; a crash meanwhile leaves the old one.
func (s *Snapshots) Put(ctx context.Context, name string, blob []byte) error {
	meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}
	if _, err := s.bucket.Put(ctx, meta, bytes.NewReader(blob)); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "writing snapshot %s: %w", name, err).
			WithHint("is the disk of the state folder full?")
	}
	return nil
}

// Get returns the blob of that name, checked against its digest. The error is
// not_found when there is none, and internal when what is there is damaged.
func (s *Snapshots) Get(ctx context.Context, name string) ([]byte, error) {
	blob, err := s.bucket.GetBytes(ctx, name)
	switch {
	case err == nil:
		return blob, nil
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no snapshot %s", name)
	case errors.Is(err, jetstream.ErrDigestMismatch):
		return nil, gatewarden.Errorf(gatewarden.Internal, "snapshot %s is damaged: %w", name, err)
	default:
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading snapshot %s: %w", name, err)
	}
}

// sweep purges chunks that no object names. A Put that died before its last write
// leaves them, and nothing else would ever remove them.
func (s *Snapshots) sweep(ctx context.Context) error {
	const chunks = "$O." + snapshotBucket + ".C."
	stream, err := s.js.Stream(ctx, "OBJ_"+snapshotBucket)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(chunks+">"))
	if err != nil {
		return err
	}
	objects, err := s.bucket.List(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoObjectsFound) {
		return err
	}
	named := make(map[string]bool, len(objects))
	for _, o := range objects {
		named[o.NUID] = true
	}
	for subject := range info.State.Subjects {
		if named[strings.TrimPrefix(subject, chunks)] {
			continue
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("purging %s: %w", subject, err)
		}
	}
	return nil
}
