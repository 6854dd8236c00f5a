// SPDX-License-Identifier: Apache-2.0

package tlsprobe

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// alertOf returns the alert of a server that an error stands for, or nil. crypto/tls gives
// such an error, and no other, the operation "remote error".
func alertOf(err error) error {
	var operation *net.OpError
	if errors.As(err, &operation) && operation.Op == "remote error" {
		return operation.Err
	}
	return nil
}

// isAlert tells whether an error is an alert that the server sent.
func isAlert(err error) bool { return alertOf(err) != nil }

// isClosed tells whether an error is the end of a connection.
func isClosed(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// isReset tells whether an error is the reset of a connection.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isTimeout tells whether an error is a missing answer.
func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout()
}

// describeError returns the text of an error without parts that differ from one connection
// to the next, such as ports, because a status shows the text.
func describeError(err error) string {
	var operation *net.OpError
	var system syscall.Errno
	switch {
	case err == nil:
		return "no answer of use"
	case isClosed(err):
		return "the server closed the connection"
	case isReset(err):
		return "the server reset the connection"
	case isTimeout(err):
		return "no answer in time"
	case isAlert(err):
		return "the server refused the handshake: " + alertOf(err).Error()
	case errors.As(err, &system):
		return system.Error()
	case errors.As(err, &operation) && operation.Err != nil:
		return operation.Err.Error()
	default:
		return err.Error()
	}
}
