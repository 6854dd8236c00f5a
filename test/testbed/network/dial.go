// SPDX-License-Identifier: Apache-2.0

package network

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// DialTimeout is how long [Machine.Dial] waits before a flow counts as dropped. No packet
// leaves the kernel: without a block, an answer takes well under a millisecond.
const DialTimeout = 500 * time.Millisecond

// Verdict is the outcome of a flow.
type Verdict string

// The verdicts. Refused and Dropped differ: a refused packet has reached the machine.
const (
	Open    Verdict = "Open"    // connected; or, without connections, answered
	Refused Verdict = "Refused" // the machine answered that no server listens
	Dropped Verdict = "Dropped" // no answer
)

// DialOption changes how [Machine.Dial] dials.
type DialOption func(*dial)

// From sets the source address; otherwise the route decides.
func From(address netip.Addr) DialOption {
	return func(d *dial) { d.from = address }
}

// Within replaces DialTimeout.
func Within(timeout time.Duration) DialOption {
	return func(d *dial) { d.timeout = timeout }
}

// Dial opens a new flow from the machine, from a new port, because established flows
// survive a new policy. Dial returns an error where there is no verdict, such as without a
// route. ICMP is an echo request, and the port has no meaning. UDP is open when
// [Machine.Listen] answers in the calling process, and an answer may need time.
//
// The kernel answers TCP and ICMP, and the kernel keeps the time: on a busy machine the
// process may be late, but no answer is lost.
func (m *Machine) Dial(protocol Protocol, to netip.AddrPort, options ...DialOption) (Verdict, error) {
	d := &dial{protocol: protocol, to: to, timeout: DialTimeout}
	for _, option := range options {
		option(d)
	}
	var socket int
	err := m.namespace.do(func() (err error) {
		socket, err = d.openSocket()
		return err
	})
	if err != nil {
		return "", fmt.Errorf("socket on %s: %w", m.Name, err)
	}
	defer func() { _ = syscall.Close(socket) }()
	return d.verdictOn(m.Name, d.tryOnce(socket))
}

type dial struct {
	protocol Protocol
	from     netip.Addr
	to       netip.AddrPort
	timeout  time.Duration
}

// openSocket opens a blocking socket, whose calls end after the timeout.
func (d *dial) openSocket() (int, error) {
	kind, protocol := syscall.SOCK_DGRAM, 0
	switch {
	case d.protocol == TCP:
		kind = syscall.SOCK_STREAM
	case d.protocol == ICMP && d.to.Addr().Is4():
		protocol = syscall.IPPROTO_ICMP
	case d.protocol == ICMP:
		protocol = syscall.IPPROTO_ICMPV6
	}
	family := syscall.AF_INET6
	if d.to.Addr().Is4() {
		family = syscall.AF_INET
	}
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	socket, err := syscall.Socket(family, kind, protocol)
	if err == nil {
		syscall.CloseOnExec(socket)
	}
	return socket, err
}

// tryOnce returns nil for an answer.
func (d *dial) tryOnce(socket int) error {
	limit := syscall.NsecToTimeval(d.timeout.Nanoseconds())
	err := errors.Join(
		syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_SNDTIMEO, &limit),
		syscall.SetsockoptTimeval(socket, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &limit),
		// Close with a reset, which leaves no state for a later flow.
		syscall.SetsockoptLinger(socket, syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1}))
	if err != nil {
		return err
	}
	if d.from.IsValid() {
		if err := syscall.Bind(socket, socketAddress(netip.AddrPortFrom(d.from, 0))); err != nil {
			return fmt.Errorf("bind to %s: %w", d.from, err)
		}
	}
	err = retryInterrupted(func() error { return syscall.Connect(socket, socketAddress(d.to)) })
	if err != nil || d.protocol == TCP {
		return err
	}
	return exchangeMessage(socket, d.requestMessage())
}

// requestMessage returns a message that is answered. The kernel fills in the identifier and
// the checksum of an ICMP echo request.
func (d *dial) requestMessage() []byte {
	const echo4, echo6 = 8, 128
	switch {
	case d.protocol == UDP:
		return []byte("hello")
	case d.to.Addr().Is4():
		return []byte{echo4, 0, 0, 0, 0, 0, 0, 1}
	default:
		return []byte{echo6, 0, 0, 0, 0, 0, 0, 1}
	}
}

func exchangeMessage(socket int, message []byte) error {
	if _, err := syscall.Write(socket, message); err != nil {
		return err
	}
	return retryInterrupted(func() error {
		_, err := syscall.Read(socket, make([]byte, 1500))
		return err
	})
}

// retryInterrupted repeats a call that a signal of the Go runtime has ended: the kernel
// does not restart calls with a timeout. A repeated connect may find the connection already
// made.
func retryInterrupted(call func() error) error {
	for {
		switch err := call(); {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EISCONN):
			return nil
		default:
			return err
		}
	}
}

// verdictOn returns the verdict for an answer. Where a machine's own policy drops an
// outgoing packet, a datagram gets EPERM, and a connection gets no answer.
func (d *dial) verdictOn(machine string, err error) (Verdict, error) {
	switch {
	case err == nil:
		return Open, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused, nil
	case errors.Is(err, syscall.EINPROGRESS), errors.Is(err, syscall.EALREADY),
		errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EPERM):
		return Dropped, nil
	default:
		return "", fmt.Errorf("%s from %s to %s: %w", d.protocol, machine, d.to, err)
	}
}

func socketAddress(to netip.AddrPort) syscall.Sockaddr {
	if to.Addr().Is4() {
		return &syscall.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}
	}
	return &syscall.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())}
}
