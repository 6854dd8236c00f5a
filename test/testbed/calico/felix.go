// SPDX-License-Identifier: Apache-2.0

package calico

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Felix enforces Calico's policies on a machine. After a change of Felix's configuration,
// Felix is started again.
type Felix struct {
	*supervised
	machine *network.Machine
	relay   io.Closer
}

// StartFelix starts Felix on a machine with the name of the Kubernetes node, and returns
// once Felix is ready. Felix's rules stay after Felix ends, so all Felixes of a machine,
// one after the other, must have the same options.
func (c *Calico) StartFelix(ctx context.Context, m *network.Machine, o FelixOptions) (*Felix, error) {
	relay, err := c.reachAPI(ctx, m)
	if err != nil {
		return nil, err
	}
	f := &Felix{machine: m, relay: relay}
	f.supervised, err = c.superviseOn(m, program{name: "felix-" + m.Name, file: felix, env: o.felixEnvironment(m.Name)})
	if err != nil {
		return nil, errors.Join(err, relay.Close())
	}
	if err := f.waitReady(ctx); err != nil {
		f.Stop()
		return nil, err
	}
	return f, nil
}

// superviseOn starts a program on a machine, as a user of its own.
func (c *Calico) superviseOn(m *network.Machine, p program) (*supervised, error) {
	kubeconfig, err := c.cp.AddUserKubeconfig(p.name, testbed.Masters)
	if err != nil {
		return nil, err
	}
	p.kubeconfig, p.start = kubeconfig, m.Start
	return c.supervise(p)
}

// Stop stops Felix. The rules stay, as on a real node.
func (f *Felix) Stop() {
	f.stopProgram()
	_ = f.relay.Close()
}

// Restart restarts Felix, and returns once Felix is ready again.
func (f *Felix) Restart(ctx context.Context) error {
	f.endProcess(true)
	return f.waitReady(ctx)
}

// Ready returns nil once Felix has written the rules for all policies present at the start
// of Felix.
func (f *Felix) Ready(ctx context.Context) error {
	transport := &http.Transport{DialContext: f.machine.DialContext, DisableKeepAlives: true}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+healthPort+"/readiness", http.NoBody)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: transport, Timeout: time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("not ready: %s", response.Status)
	}
	return nil
}

func (f *Felix) waitReady(ctx context.Context) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		last = f.Ready(ctx)
		return last == nil, f.Died()
	})
	if err != nil {
		return fmt.Errorf("wait for Felix on %s: %w", f.machine.Name, errors.Join(err, last))
	}
	return nil
}
