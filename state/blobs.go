package state

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/gatewarden/gatewarden"
)

const (
	// chunkSize keeps a chunk under the 1 MiB that a NATS server takes by default. Each
	// chunk is an fsync, so a small one makes a large snapshot slow.
	chunkSize = 512 << 10
	// remnantAfter is how old chunks are that no blob names and that nobody writes any more.
	remnantAfter = time.Minute
)

// Blobs keeps the latest blob by name. Blobs may be tens of megabytes.
type Blobs struct {
	state  *State
	js     jetstream.JetStream
	bucket jetstream.ObjectStore
	name   string // of the bucket
	now    func() time.Time
}

// Snapshots opens the place for what the store has counted.
func (s *State) Snapshots(ctx context.Context) (*Blobs, error) {
	return s.blobs(ctx, "gatewarden_snapshots", "what the store has counted")
}

// Runs opens the place for the runs of canaries, with their judges.
func (s *State) Runs(ctx context.Context) (*Blobs, error) {
	return s.blobs(ctx, "gatewarden_runs", "runs of canaries, with their judges")
}

func (s *State) blobs(ctx context.Context, name, description string) (*Blobs, error) {
	b := &Blobs{state: s, js: s.js, name: name, now: time.Now}
	err := s.settle(ctx, name, func(ctx context.Context) (err error) {
		b.bucket, err = s.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{
			Bucket:      name,
			Description: "gatewarden: " + description,
			Replicas:    s.replicas,
		})
		return err
	})
	if err != nil {
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "opening the bucket %s: %w", name, err)
	}
	return b, nil
}

// Put replaces the blob of that name. It becomes visible as a whole when it is
// durable; a crash meanwhile leaves the old one.
func (b *Blobs) Put(ctx context.Context, name string, blob []byte) error {
	meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: chunkSize}}
	_, err := b.bucket.Put(ctx, meta, bytes.NewReader(blob))
	if errors.Is(err, jetstream.ErrBadObjectMeta) { // of the one that is there
		if err = b.purge(ctx, name); err == nil {
			_, err = b.bucket.Put(ctx, meta, bytes.NewReader(blob))
		}
	}
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "writing the blob %s: %w", name, err).
			WithHint("is the disk of the state folder full?")
	}
	return nil
}

// Get returns the blob of that name, checked against its digest. The error is
// not_found when there is none, and internal when what is there is damaged or not whole.
func (b *Blobs) Get(ctx context.Context, name string) ([]byte, error) {
	return b.get(ctx, name, b.now().Add(shrunkFor))
}

// get is Get. Where guards share the state, what seems damaged is looked at again until
// then: a server that was just elected may have to catch up.
func (b *Blobs) get(ctx context.Context, name string, until time.Time) ([]byte, error) {
	var blob []byte
	var err error
	for {
		err = b.state.patiently(ctx, name, blobTimeout, func(ctx context.Context) (err error) {
			blob, err = b.read(ctx, name)
			return err
		})
		if !damagedBlob(err) || !b.state.Shared() || b.now().After(until) || !sleep(ctx, maxPause) {
			break
		}
	}
	switch {
	case err == nil:
		return blob, nil
	case errors.Is(err, jetstream.ErrObjectNotFound):
		return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no blob %s", name)
	case damagedBlob(err):
		return nil, gatewarden.Errorf(gatewarden.Internal, "the blob %s is damaged: %w", name, err)
	default:
		return nil, gatewarden.Errorf(gatewarden.Unavailable, "reading the blob %s: %w", name, err)
	}
}

// errChunks is the error of a blob that is not whole.
var errChunks = errors.New("parts of it are lost")

func damagedBlob(err error) bool {
	return errors.Is(err, errChunks) || errors.Is(err, jetstream.ErrDigestMismatch) || errors.Is(err, jetstream.ErrBadObjectMeta)
}

// read reads a blob. One whose chunks are lost it does not wait for. One that is replaced
// meanwhile it reads anew.
func (b *Blobs) read(ctx context.Context, name string) ([]byte, error) {
	for {
		info, err := b.bucket.GetInfo(ctx, name)
		if err != nil {
			return nil, err
		}
		blob, err := b.readChunks(ctx, info)
		if !damagedBlob(err) {
			return blob, err
		}
		now, infoErr := b.bucket.GetInfo(ctx, name)
		if infoErr == nil && now.NUID != info.NUID {
			continue
		}
		return nil, err
	}
}

// readChunks reads what info tells of, unless something of it is missing.
func (b *Blobs) readChunks(ctx context.Context, info *jetstream.ObjectInfo) ([]byte, error) {
	subject := b.chunks() + info.NUID
	stream, err := b.js.Stream(ctx, "OBJ_"+b.name)
	if err != nil {
		return nil, err
	}
	kept, err := stream.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return nil, err
	}
	if n := kept.State.Subjects[subject]; n < uint64(info.Chunks) {
		return nil, fmt.Errorf("%w: %d of %d", errChunks, uint64(info.Chunks)-n, info.Chunks)
	}
	return b.bucket.GetBytes(ctx, info.Name)
}

// chunks is what the subjects of chunks begin with.
func (b *Blobs) chunks() string { return "$O." + b.name + ".C." }

// Delete forgets the blob of that name, damaged or not; one that is not there is no error.
func (b *Blobs) Delete(ctx context.Context, name string) error {
	err := b.bucket.Delete(ctx, name)
	if errors.Is(err, jetstream.ErrBadObjectMeta) {
		err = b.purge(ctx, name)
	}
	if err != nil && !errors.Is(err, jetstream.ErrObjectNotFound) {
		return gatewarden.Errorf(gatewarden.Unavailable, "deleting the blob %s: %w", name, err)
	}
	return nil
}

// purge forgets a blob of which not even what it is can be read. Sweep clears away its chunks.
func (b *Blobs) purge(ctx context.Context, name string) error {
	stream, err := b.js.Stream(ctx, "OBJ_"+b.name)
	if err != nil {
		return err
	}
	return stream.Purge(ctx, jetstream.WithPurgeSubject(b.metas()+base64.URLEncoding.EncodeToString([]byte(name))))
}

// metas is what the subjects of the messages begin with that say what a blob is; its name
// follows, in base64.
func (b *Blobs) metas() string { return "$O." + b.name + ".M." }

// listed is what the bucket says of a blob.
type listed struct {
	name string
	nuid string // "" when that cannot be read
}

// list returns every blob in the order of the names. The client's own List never ends when
// what comes last cannot be read, and leaves out what else cannot.
func (b *Blobs) list(ctx context.Context) ([]listed, error) {
	stream, err := b.js.Stream(ctx, "OBJ_"+b.name)
	if err != nil {
		return nil, err
	}
	newest := map[string]listed{} // by subject
	r := reader{stream: stream, filter: b.metas() + ">"}
	r.begun = func(pending uint64) error {
		if pending == 0 {
			return errRead
		}
		return nil
	}
	r.visit = func(msg message) error {
		var info jetstream.ObjectInfo
		name, err := base64.URLEncoding.DecodeString(strings.TrimPrefix(msg.subject, b.metas()))
		switch {
		case err != nil: // nobody could ask for it
		case json.Unmarshal(msg.data, &info) != nil:
			newest[msg.subject] = listed{name: string(name)}
		case info.Deleted:
			delete(newest, msg.subject)
		default:
			newest[msg.subject] = listed{string(name), info.NUID}
		}
		if msg.pending == 0 {
			return errRead
		}
		return nil
	}
	if err := r.read(ctx); !errors.Is(err, errRead) {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(newest), func(x, y listed) int { return strings.Compare(x.name, y.name) }), nil
}

// All visits every blob in the order of the names, one that is damaged as nil. An error of
// visit ends it and is returned.
func (b *Blobs) All(ctx context.Context, visit func(name string, blob []byte) error) error {
	var list []listed
	err := b.state.patiently(ctx, b.name, useTimeout, func(ctx context.Context) (err error) {
		list, err = b.list(ctx)
		return err
	})
	if err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "listing the bucket %s: %w", b.name, err)
	}
	until := b.now().Add(shrunkFor)
	for _, o := range list {
		blob, err := b.get(ctx, o.name, until)
		if err == nil || gatewarden.ErrorCode(err) == gatewarden.Internal {
			err = visit(o.name, blob)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Sweep clears away what a crash in the middle of a Put may have left. It is for the one
// guard that writes the blobs. What is younger than remnantAfter it leaves: another guard
// may be about to write the rest of it, which does not know yet that it leads no more.
func (b *Blobs) Sweep(ctx context.Context) error {
	if err := b.state.patiently(ctx, b.name, useTimeout, b.sweep); err != nil {
		return gatewarden.Errorf(gatewarden.Unavailable, "clearing half-written blobs out of the bucket %s: %w", b.name, err)
	}
	return nil
}

// sweep purges old chunks that no object names. A Put that died before its last write
// leaves them, and nothing else would ever remove them.
func (b *Blobs) sweep(ctx context.Context) error {
	chunks := b.chunks()
	stream, err := b.js.Stream(ctx, "OBJ_"+b.name)
	if err != nil {
		return err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(chunks+">"))
	if err != nil {
		return err
	}
	blobs, err := b.list(ctx)
	if err != nil {
		return err
	}
	named := make(map[string]bool, len(blobs))
	for _, o := range blobs {
		if o.nuid == "" {
			return nil // any chunk may be its, and it is kept to be looked at
		}
		named[o.nuid] = true
	}
	for subject := range info.State.Subjects {
		if named[strings.TrimPrefix(subject, chunks)] {
			continue
		}
		newest, err := stream.GetLastMsgForSubject(ctx, subject)
		if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && b.now().Sub(newest.Time) < remnantAfter {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at %s: %w", subject, err)
		}
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return fmt.Errorf("purging %s: %w", subject, err)
		}
	}
	return nil
}
