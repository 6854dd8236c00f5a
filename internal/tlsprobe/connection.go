// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

var errTooManyBytes = errors.New("the server sends more than is read")

// headLength is the number of first bytes that are kept: the header of a TLS record.
const headLength = 5

// connection reads a limited number of bytes, and ends when the context ends. Users cannot
// set deadlines.
type connection struct {
	net.Conn
	left     int    // the number of bytes that may still be read
	received int    // the number of bytes read
	head     []byte // the first bytes read
	cancel   context.CancelFunc
	stop     func() bool
	stopped  chan struct{} // closed after the context has ended the connection
}

// openConnection opens a connection, which ends after Limits.Connection.
func (l *look) openConnection(ctx context.Context) (*connection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, l.limits.Connection)
	dial := l.prober.Dial
	if dial == nil {
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	conn, err := dial(ctx, "tcp", netip.AddrPortFrom(l.target.Address.Unmap(), l.target.Port).String())
	if err != nil {
		cancel()
		return nil, err
	}
	l.connections++
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = conn.SetDeadline(time.Unix(1, 0)) // every Read and Write returns at once
	})
	return &connection{Conn: conn, left: l.limits.Bytes, cancel: cancel, stop: stop, stopped: stopped}, nil
}

// Close closes the connection, and leaves no goroutine.
func (c *connection) Close() error {
	if !c.stop() {
		<-c.stopped
	}
	c.cancel()
	return c.Conn.Close()
}

func (c *connection) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooManyBytes
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	c.received += n
	c.head = append(c.head, p[:min(n, headLength-len(c.head))]...)
	return n, err
}

// SetDeadline does nothing: crypto/tls must not lengthen the time of the connection.
func (c *connection) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (c *connection) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, as SetDeadline.
func (c *connection) SetWriteDeadline(time.Time) error { return nil }
