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

// Watchman tries required flows all the time.
type Watchman struct {
	cuts []string // read after the watchman has stopped
	done chan struct{}
	end  context.CancelFunc
}

// WatchRequiredFlows tries etcd and the kubelet of cp-1 from the other control-plane node
// and from cp-1 itself, and the ports of API servers from all machines.
func (f *Field) WatchRequiredFlows() *Watchman {
	f.AnswerAt(network.TCP, f.APIServerPort())
	var flows []watched
	for _, role := range []profile.Role{profile.RoleControlPlane, profile.RoleSelf} {
		for _, port := range []uint16{EtcdPort, PeersPort, KubeletPort} {
			flows = append(flows, watched{f.SendersOf(role)[0], port})
		}
	}
	return f.watchFlows(slices.Concat(flows, f.toAPIServer(f.APIServerPort()), f.toAPIServer(APIServerPort)))
}

// WatchAPIServer tries the API server's port of cp-1, which is a failsafe port, from all
// machines.
func (f *Field) WatchAPIServer() *Watchman { return f.watchFlows(f.toAPIServer(APIServerPort)) }

// watched is a flow to a port of cp-1.
type watched struct {
	Sender
	port uint16
}

func (f *Field) toAPIServer(port uint16) []watched {
	var flows []watched
	for _, role := range []profile.Role{profile.RoleNodes, profile.RoleAdmin, profile.RoleSelf} {
		for _, s := range f.SendersOf(role) {
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
			if got := f.VerdictsOf(flow.Sender, network.TCP, flow.port); got != Open {
				cut(fmt.Sprintf("%s to port %d: %s", flow.Machine.Name, flow.port, got))
			}
		}
	})
}

// packetBeat and apiBeat are the times between two attempts to connect, and between two
// requests to the API server, which take far more work.
const (
	packetBeat = 10 * time.Millisecond
	apiBeat    = 50 * time.Millisecond
)

// WatchPackets tries again and again, and records every cut.
func (f *Field) WatchPackets(try func(cut func(string))) *Watchman {
	return f.watchOver(packetBeat, try)
}

// WatchAPI asks the API server again and again, and records notes.
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
	f.T.Cleanup(func() { w.StopWatching() })
	return w
}

// StopWatching stops the watchman, and returns the recorded cuts or notes.
func (w *Watchman) StopWatching() []string {
	w.end()
	<-w.done
	return w.cuts
}
