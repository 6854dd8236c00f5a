// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package network

import (
	"errors"
	"os/exec"
)

// namespace exists on Linux alone.
type namespace struct{ path string }

func newNamespace() (*namespace, error) {
	return nil, errors.New("network namespaces need Linux")
}

func (n *namespace) do(f func() error) error { return f() }

func (n *namespace) start(cmd *exec.Cmd) error { return cmd.Start() }

func (n *namespace) close() {}
