// SPDX-License-Identifier: Apache-2.0

package flood

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// process is the operator, with the arguments of the Deployment except for the addresses.
type process struct {
	*testbed.Process
	address, token, log string
	// places counts the source addresses used for reading metrics, because the metrics port
	// accepts two requests a second from one address.
	places atomic.Uint32
}

// startOperator starts the program, and returns once the operator has read the cluster.
func startOperator(t *testing.T, g *WithT) *process {
	t.Helper()
	kubeconfig, err := cluster.AddUserKubeconfig(operatorUser)
	g.Expect(err).NotTo(HaveOccurred())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](3600)}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "scraper"}}
	g.Expect(admin.SubResource("token").Create(t.Context(), account, request)).To(Succeed())

	name := fmt.Sprint("operator-", time.Now().UnixNano())
	p := &process{address: testbed.FreeAddress(), token: request.Status.Token, log: filepath.Join(cluster.Dir, "logs", name+".log")}
	health := testbed.FreeAddress()
	arguments := append(slices.Clone(shipped.Args), "--kubeconfig="+kubeconfig, "--leader-election-namespace="+operatorNamespace,
		"--metrics-bind-address="+p.address, "--health-probe-bind-address="+health) // the last value of an option counts
	cmd := exec.Command(program, arguments...)
	// The environment of the tests is not inherited, because variables there may configure
	// the garbage collector.
	cmd.Env = []string{"POD_NAMESPACE=" + operatorNamespace, "POD_NAME=manager", fmt.Sprint("MEMORY_LIMIT=", memoryLimit())}
	p.Process, err = cluster.StartProcess(name, cmd, nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() error {
		if err := p.Died(); err != nil {
			return StopTrying("it does not run").Wrap(err)
		}
		response, err := http.Get("http://" + health + "/readyz")
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	}).Should(Succeed())
	return p
}

// memoryLimit is the operator's shipped memory limit, in bytes.
func memoryLimit() int64 { return shipped.Resources.Limits.Memory().Value() }

// memoryOf returns a line of proc_pid_status(5), in MiB: VmRSS is the resident memory of
// the program, VmHWM its peak.
func (p *process) memoryOf(line string) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	for text := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(text, line+":"); found {
			size, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 64)
			return size / 1024, err
		}
	}
	return 0, fmt.Errorf("the process has no %s: it has ended", line)
}

// forgetPeak resets VmHWM: proc_pid_clear_refs(5).
func (p *process) forgetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID()), []byte("5"), 0)
}

// loggedBytes returns how much the operator has logged, in bytes.
func (p *process) loggedBytes() int64 {
	info, err := os.Stat(p.log)
	if err != nil {
		return 0
	}
	return info.Size()
}

// requestMetrics requests the metrics with a token, from one of many addresses.
func (p *process) requestMetrics(token, from string) (*http.Response, func(), error) {
	dialer := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	// The operator makes a certificate at each start, and no client can know this
	// certificate.
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	request, err := http.NewRequest(http.MethodGet, "https://"+p.address+"/metrics", nil)
	if err != nil {
		return nil, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(request)
	if err != nil {
		transport.CloseIdleConnections()
		return nil, nil, err
	}
	return response, func() { _ = response.Body.Close(); transport.CloseIdleConnections() }, nil
}

// metrics are the number of series, and the queue depths by controller.
type metrics struct {
	series int
	depth  map[string]int
}

func (p *process) readMetrics() (metrics, error) {
	place := p.places.Add(1)
	response, done, err := p.requestMetrics(p.token, fmt.Sprintf("127.0.2.%d", 1+place%200))
	if err != nil {
		return metrics{}, err
	}
	defer done()
	if response.StatusCode != http.StatusOK {
		return metrics{}, errors.New(response.Status)
	}
	read := metrics{depth: map[string]int{}}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		read.series++
		if !strings.HasPrefix(line, "workqueue_depth{") {
			continue
		}
		_, name, _ := strings.Cut(line, `name="`)
		name, _, _ = strings.Cut(name, `"`)
		value, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		if err != nil {
			return metrics{}, err
		}
		read.depth[name] += int(value)
	}
	return read, nil
}

// totalDepth returns the total depth of all queues.
func (m metrics) totalDepth() int {
	sum := 0
	for _, depth := range m.depth {
		sum += depth
	}
	return sum
}
