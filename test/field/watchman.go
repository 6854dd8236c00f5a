// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// Watchman tries all the time what must never be cut.
type Watchman struct {
	cuts []string // read after it has stopped
	done chan struct{}
	end  context.CancelFunc
}

// Watch tries etcd and the kubelet of cp-1 from the other node of the control
// plane, and from cp-1 itself; and the API server's ports from everybody.
func (f *Field) Watch() *Watchman {
	f.Answer(network.TCP, f.APIServerPort())
	var flows []watched
	for _, role := range []profile.Role{profile.RoleControlPlane, profile.RoleSelf} {
		for _, port := range []uint16{EtcdPort, PeersPort, KubeletPort} {
			flows = append(flows, watched{f.Senders(role)[0], port})
		}
	}
	return f.watchFlows(slices.Concat(flows, f.toAPIServer(f.APIServerPort()), f.toAPIServer(APIServerPort)))
}

// WatchAPIServer tries the API server's port of cp-1, which is a failsafe port, from
// everybody.
func (f *Field) WatchAPIServer() *Watchman { return f.watchFlows(f.toAPIServer(APIServerPort)) }

// watched is a flow to a port of cp-1.
type watched struct {
	Sender
	port uint16
}

func (f *Field) toAPIServer(port uint16) []watched {
	var flows []watched
	for _, role := range []profile.Role{profile.RoleNodes, profile.RoleAdmin, profile.RoleSelf} {
		for _, s := range f.Senders(role) {
			flows = append(flows, watched{s, port})
		}
	}
	return flows
}

// watchFlows tries a few flows at each beat.
func (f *Field) watchFlows(flows []watched) *Watchman {
	const atOnce = 4
	next := 0
	return f.WatchPackets(func(cut func(string)) {
		for range min(atOnce, len(flows)) {
			flow := flows[next%len(flows)]
			next++
			if got := f.Sends(flow.Sender, network.TCP, flow.port); got != Open {
				cut(fmt.Sprintf("%s to port %d: %s", flow.Machine.Name, flow.port, got))
			}
		}
	})
}

// packetBeat and apiBeat are the time between two attempts to connect, and to ask the
// API server, which is far more work.
const (
	packetBeat = 10 * time.Millisecond
	apiBeat    = 50 * time.Millisecond
)

// WatchPackets has a watchman try again and again, and tell what was cut.
func (f *Field) WatchPackets(try func(cut func(string))) *Watchman {
	return f.watchOver(packetBeat, try)
}

// WatchAPI has a watchman ask again and again, and note what it sees.
func (f *Field) WatchAPI(ask func(note func(string))) *Watchman { return f.watchOver(apiBeat, ask) }

func (f *Field) watchOver(every time.Duration, try func(cut func(string))) *Watchman {
	ctx, cancel := context.WithCancel(f.T.Context())
	w := &Watchman{done: make(chan struct{}), end: cancel}
	go func() {
		defer close(w.done)
		beat := time.NewTicker(every)
		defer beat.Stop()
		for ctx.Err() == nil {
			<-beat.C
			try(func(text string) { w.cuts = append(w.cuts, time.Now().Format(time.StampMilli)+" "+text) })
		}
	}()
	f.T.Cleanup(func() { w.Stop() })
	return w
}

// Stop ends it, and returns what was cut, or noted.
func (w *Watchman) Stop() []string {
	w.end()
	<-w.done
	return w.cuts
}
