// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot

import (
	"io"
	"net"
	"sync"
	"testing"
)

// relay passes connections on to a server, and stops each answer after some bytes until
// the test releases it: a snapshot that stays half-way for as long as a test needs.
type relay struct {
	endpoint string
	// reached is closed when an answer was stopped.
	reached  chan struct{}
	released chan struct{}
	once     sync.Once
	release  func()
}

// newRelay returns a relay that passes the first connections on to one target each, and
// all later ones to the last target.
func newRelay(t *testing.T, limit int64, targets ...*etcd) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{endpoint: "https://" + listener.Addr().String(), reached: make(chan struct{}), released: make(chan struct{})}
	r.release = sync.OnceFunc(func() { close(r.released) })
	t.Cleanup(func() { r.release(); _ = listener.Close() })
	go func() {
		for i := 0; ; i++ {
			inbound, err := listener.Accept()
			if err != nil {
				return
			}
			go r.pass(inbound, targets[min(i, len(targets)-1)], limit)
		}
	}()
	return r
}

func (r *relay) pass(inbound net.Conn, target *etcd, limit int64) {
	defer inbound.Close()
	outbound, err := net.Dial("tcp", target.endpoint[len("https://"):])
	if err != nil {
		return
	}
	defer outbound.Close()
	go func() {
		_, _ = io.Copy(outbound, inbound)
		_ = outbound.(*net.TCPConn).CloseWrite()
	}()
	if _, err := io.CopyN(inbound, outbound, limit); err != nil {
		return
	}
	r.once.Do(func() { close(r.reached) })
	<-r.released
	_, _ = io.Copy(inbound, outbound)
}
