// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"k8s.io/client-go/rest"
)

// Taker takes snapshots.
type Taker struct {
	Options

	// Out receives what happens, in lines.
	Out io.Writer
	// Cluster returns how to reach the API server; it is called only where there is a Lease.
	Cluster func() (*rest.Config, error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// ProgressInterval is the time between lines about the progress; 0 is 5 seconds.
	ProgressInterval time.Duration
}

// Snapshot is a snapshot that was taken and verified.
type Snapshot struct {
	// Path is the path of the file.
	Path string
	// Taken is a time at which etcd had no data beyond the snapshot.
	Taken time.Time
	// Member is the address of the member of etcd, and Version its version.
	Member, Version string
	// Cluster is the ID of the cluster of etcd.
	Cluster uint64

	Content
}

// Take takes and verifies a snapshot, prunes older snapshots, and stamps the Lease. If Take
// returns an error and a snapshot with a path, the snapshot is good, and only a later step
// has failed.
func (t *Taker) Take(ctx context.Context) (Snapshot, error) {
	if err := t.Check(); err != nil {
		return Snapshot{}, err
	}
	limited, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	s, err := t.takeLocked(limited)
	switch {
	case err == nil:
		return s, nil
	case ctx.Err() != nil:
		return s, fmt.Errorf("the run was interrupted: %w", err)
	case limited.Err() != nil:
		return s, fmt.Errorf("the run took longer than %s: raise --timeout: %w", t.Timeout, err)
	default:
		return s, err
	}
}

func (t *Taker) takeLocked(ctx context.Context) (s Snapshot, err error) {
	credentials, err := loadCredentials(&t.Options)
	if err != nil {
		return Snapshot{}, err
	}
	dir, err := openFolder(t.Dir)
	if err != nil {
		return Snapshot{}, err
	}
	defer func() { err = errors.Join(err, dir.close()) }()
	if err := dir.removePartials(t.Out); err != nil {
		return Snapshot{}, err
	}
	addresses, err := parseEndpoints(t.Endpoints)
	if err != nil {
		return Snapshot{}, err
	}
	m, err := connectFirst(ctx, addresses, credentials, t.Out)
	if err != nil {
		return Snapshot{}, err
	}
	defer func() { err = errors.Join(err, m.close()) }()
	s, err = t.takeFrom(ctx, m, dir)
	if err != nil {
		return s, err
	}
	return s, t.finish(ctx, dir, s)
}

// takeFrom returns the snapshot with a path as soon as there is a verified file.
func (t *Taker) takeFrom(ctx context.Context, m *member, dir *folder) (Snapshot, error) {
	for _, warning := range m.warnings {
		fmt.Fprintf(t.Out, "Warning: etcd at %s: %s\n", m.address, warning)
	}
	if err := dir.requireSpace(m.size); err != nil {
		return Snapshot{}, err
	}
	s := Snapshot{Taken: t.now().UTC(), Member: m.address, Version: m.version, Cluster: m.cluster}
	fmt.Fprintf(t.Out, "Taking a snapshot of etcd %s at %s, revision %d, %s\n", m.version, m.address, m.revision, formatBytes(m.size))
	partial, err := t.download(ctx, m, dir)
	if err != nil {
		return Snapshot{}, err
	}
	s.Content, err = verifyDownload(ctx, m, partial)
	if err != nil {
		return Snapshot{}, errors.Join(err, os.Remove(partial))
	}
	path, err := dir.publish(partial, formatName(s.Taken, s.Cluster, s.Revision))
	if path == "" {
		return Snapshot{}, errors.Join(err, os.Remove(partial))
	}
	s.Path = path
	return s, err
}

func (t *Taker) download(ctx context.Context, m *member, dir *folder) (path string, err error) {
	stream, err := m.openSnapshot(ctx)
	if err != nil {
		return "", err
	}
	defer stream.Close()
	count := &progress{total: m.size}
	shown, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		count.show(shown, t.Out, cmp.Or(t.ProgressInterval, progressInterval))
	}()
	path, err = dir.writePartial(stream, count)
	stop()
	<-ended
	if err == nil {
		fmt.Fprintf(t.Out, "Received %s, verifying\n", formatBytes(count.written.Load()))
	}
	return path, err
}

// verifyDownload verifies a file, also against the revision of the member before and after.
// Etcd may have found the damage to its data in the meantime.
func verifyDownload(ctx context.Context, m *member, path string) (Content, error) {
	content, err := VerifyFile(ctx, path)
	if err != nil {
		return Content{}, err
	}
	after := content.Revision
	if status, err := m.askStatus(ctx); err == nil { // the member may have gone since; the snapshot is whole
		if err := checkCorruption(m.address, status); err != nil {
			return Content{}, err
		}
		after = status.Header.GetRevision()
	}
	if content.Revision < m.revision || content.Revision > after {
		return Content{}, fmt.Errorf("the snapshot has revision %d, and etcd at %s was between %d and %d: take another snapshot, "+
			"and check the health of this member", content.Revision, m.address, m.revision, after)
	}
	return content, ctx.Err()
}

// finish does the steps that follow a good snapshot. A failed step does not stop the next
// steps.
func (t *Taker) finish(ctx context.Context, dir *folder, s Snapshot) error {
	newest, _ := parseName(formatName(s.Taken, s.Cluster, s.Revision))
	pruned := dir.prune(newest, t.now(), limits{count: t.KeepCount, age: t.KeepAge}, t.Out)
	stamped := t.stamp(ctx, s)
	fmt.Fprintf(t.Out, "Verified %s: %s, revision %d, %d keys, sha256 %s, in %s\n", s.Path, formatBytes(s.Size), s.Revision, s.Keys,
		s.SHA256, t.now().Sub(s.Taken).Round(time.Millisecond))
	if err := errors.Join(pruned, stamped); err != nil {
		return fmt.Errorf("the snapshot is good, but %w", err)
	}
	return nil
}

func (t *Taker) stamp(ctx context.Context, s Snapshot) error {
	key, err := parseLease(t.Lease)
	if err != nil || key.Name == "" {
		return err
	}
	config, err := t.Cluster()
	if err != nil {
		return fmt.Errorf("finding the cluster of the Lease: %w; set the flag --kubeconfig or the variable KUBECONFIG", err)
	}
	if err := stampLease(ctx, config, key, t.NodeName, s); err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "Stamped the Lease %s\n", key)
	return nil
}

func (t *Taker) now() time.Time {
	if t.Now == nil {
		return time.Now()
	}
	return t.Now()
}
