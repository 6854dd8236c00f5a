// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// ration is a connection to the API server through which so many writes to
// Calico's objects go, and no more: the operator dies after the last.
type ration struct {
	mu   sync.Mutex
	left int
	used int
}

func (r *ration) config() *rest.Config {
	config := rest.CopyConfig(operatorConfig)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return rationed{r, next} })
	return config
}

type rationed struct {
	*ration
	next http.RoundTripper
}

func (r rationed) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Method != http.MethodGet && strings.Contains(request.URL.Path, "/projectcalico.org/") && !r.take() {
		return nil, errors.New("the operator is dead")
	}
	return r.next.RoundTrip(request)
}

func (r *ration) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == r.left {
		return false
	}
	r.used++
	return true
}

func (r *ration) spent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used == r.left
}

// watchman tries all the time what must never be cut.
type watchman struct {
	cuts []string // read after it has stopped
	done chan struct{}
	end  context.CancelFunc
}

// watch tries etcd and the kubelet of cp-1 from the other node of the control
// plane, and from cp-1 itself.
func (f *field) watch() *watchman {
	cp2, cp1 := f.senders(profile.RoleControlPlane)[0], f.senders(profile.RoleSelf)[0]
	return f.watchOver(func(cut func(string)) {
		for name, s := range map[string]sender{"cp-2": cp2, "cp-1": cp1} {
			for _, port := range []uint16{etcdPort, kubeletPort} {
				if got := f.sends(s, network.TCP, port); got != open {
					cut(fmt.Sprintf("%s to port %d: %s", name, port, got))
				}
			}
		}
	})
}

// watchOver has a watchman try again and again, and tell what was cut.
func (f *field) watchOver(try func(cut func(string))) *watchman {
	ctx, cancel := context.WithCancel(f.t.Context())
	w := &watchman{done: make(chan struct{}), end: cancel}
	go func() {
		defer close(w.done)
		beat := time.NewTicker(5 * time.Millisecond)
		defer beat.Stop()
		for ctx.Err() == nil {
			<-beat.C
			try(func(text string) { w.cuts = append(w.cuts, time.Now().Format(time.StampMilli)+" "+text) })
		}
	}()
	f.t.Cleanup(func() { w.stop() })
	return w
}

func (w *watchman) stop() []string {
	w.end()
	<-w.done
	return w.cuts
}

// The operator dies after every single write, on the way in and on the way out,
// and each time the required flows go on: there are new connections all the
// time, and not one is cut.
func TestNoPrefixOfTheWritesCutsWhatIsRequired(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }))
	watchman := f.watch()
	in := f.oneByOne(func() bool { return condition(v1alpha1.ConditionProgrammed)() == "True/Programmed" })
	f.becomes(etcdPort, only("cp-2", "itself", "loopback"))
	f.becomes(kubeletPort, only("cp-2", "itself", "loopback"))
	f.Expect(admin.Delete(t.Context(), policyNow())).To(Succeed())
	out := f.oneByOne(func() bool { return policyNow() == nil })
	f.becomes(etcdPort, only(everybody...))
	t.Logf("%d writes in, %d out, and the operator ended after each", in, out)
	f.Expect(in).To(BeNumerically(">=", 12))
	f.Expect(out).To(BeNumerically(">=", 12))
	f.Expect(watchman.stop()).To(BeEmpty())
}

// oneByOne starts the operator for one write each time, until it is through.
func (f *field) oneByOne(through func() bool) (writes int) {
	f.t.Helper()
	const enough = 40
	for ; writes < enough; writes++ {
		r := &ration{left: 1}
		stop := f.operatorAs(r.config())
		f.Eventually(func() bool { return r.spent() || through() }, patience, tick).Should(BeTrue())
		stop()
		if !r.spent() {
			return writes
		}
	}
	f.t.Fatalf("not through after %d writes", enough)
	return 0
}
