// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// keepAlive is how long a connection may be silent before a check, and how long the check
// may then last before the connection is closed.
const keepAlive = 20 * time.Second

// member is a connection to one member of etcd.
type member struct {
	address string
	client  *clientv3.Client
	// revision and size describe the member's data before the snapshot.
	revision, size int64
	// cluster is the ID of the cluster of etcd.
	cluster uint64
	version string
	// warnings are the member's own warnings that are no reason against a snapshot.
	warnings []string
}

// connectFirst connects to the first member that answers, votes, and has a leader. A
// snapshot comes from exactly one member. out names the members that were passed over.
func connectFirst(ctx context.Context, addresses []string, credentials *tls.Config, out io.Writer) (*member, error) {
	var failures []error
	for _, address := range addresses {
		m, err := connect(ctx, address, credentials)
		switch {
		case err == nil:
			for _, failure := range failures {
				fmt.Fprintf(out, "Passed over: %s\n", failure)
			}
			return m, nil
		case errors.Is(err, errCorrupt):
			return nil, err
		}
		failures = append(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("no endpoint is left to ask for a snapshot: %w", errors.Join(failures...))
}

func connect(ctx context.Context, address string, credentials *tls.Config) (*member, error) {
	if err := reach(ctx, address, credentials); err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"https://" + address}, TLS: credentials.Clone(), Logger: zap.NewNop(),
		DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: keepAlive,
	})
	if err != nil {
		return nil, fmt.Errorf("etcd at %s: %w", address, err)
	}
	m := &member{address: address, client: client}
	if err := m.readStatus(ctx); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

func (m *member) close() error { return m.client.Close() }

func (m *member) readStatus(ctx context.Context) error {
	status, err := m.askStatus(ctx)
	if err != nil {
		return err
	}
	m.cluster, m.revision = status.Header.GetClusterId(), status.Header.GetRevision()
	m.size, m.version = status.DbSize, status.Version
	m.warnings = listWarnings(status)
	if err := checkCorruption(m.address, status); err != nil {
		return err
	}
	return checkMember(m.address, status)
}

func (m *member) askStatus(ctx context.Context) (*clientv3.StatusResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	status, err := m.client.Status(ctx, "https://"+m.address)
	if err != nil {
		return nil, fmt.Errorf("asking etcd at %s for its status: %w", m.address, err)
	}
	return status, nil
}

// openSnapshot returns the stream of a snapshot.
func (m *member) openSnapshot(ctx context.Context) (io.ReadCloser, error) {
	response, err := m.client.SnapshotWithVersion(ctx)
	switch {
	case err == nil:
		return response.Snapshot, nil
	case strings.Contains(err.Error(), "permission denied"):
		return nil, fmt.Errorf("etcd at %s denies the snapshot: the user of the client certificate (its common name) needs "+
			"the role root in etcd: %w", m.address, err)
	default:
		return nil, fmt.Errorf("etcd at %s: %w", m.address, err)
	}
}
