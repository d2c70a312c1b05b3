"The sandbox: every escape is tried for real and judged by what the outside sees; most of them succeed in a plain process, so the tests can fail."
import ctypes, json, math, os, platform, re, secrets, shutil, signal, socket, stat, subprocess, sys, sysconfig, tempfile, textwrap, threading, time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from causal_prompts import inside, sandbox
from causal_prompts.sandbox import WORDS, Ran, SandboxError, available, run_apart

ROOT = Path(__file__).resolve().parents[1]
SUPER = os.geteuid() == 0
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
PTRACE = SUPER or not YAMA.exists() or YAMA.read_text().strip() == "0"
ARM = platform.machine() == "aarch64"
NAME = f"box-{secrets.token_hex(3)}" # of processes that are looked for, different in every session
walls = pytest.mark.skipif(sys.platform != "linux", reason="the walls are made of Linux namespaces")
pytestmark = walls


def test_the_walls_can_be_built_on_this_machine():
    assert available() == "", f"nothing below can be tried without walls: {available()}"


# ---- an outside worth reaching

VICTIM = """
import ctypes, signal, sys, time
held = ctypes.create_string_buffer(sys.argv[1].encode())
signal.signal(signal.SIGCONT, lambda *_: open(sys.argv[2], "w").close())
print(ctypes.addressof(held), flush=True)
time.sleep(600)
"""

class Outside:
    "Files, keys, servers and a process of the user, open to everyone who can see them."
    def __init__(self):
        self.secret, self.marker = f"secret{secrets.token_hex(8)}", f"m{secrets.token_hex(5)}"
        self.folder = Path(tempfile.mkdtemp(prefix="outside-"))
        self.folder.chmod(0o777)
        self.file = self.folder/"home"/".netrc"
        self.file.parent.mkdir()
        self.file.write_text(self.secret)
        self.said, self.environment = [], os.environ.copy()
        os.environ["OPENAI_API_KEY"] = self.secret
        self.sockets = [self.listen(socket.AF_INET, ("127.0.0.1", 0)), self.listen(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM),
                        self.listen(socket.AF_UNIX, str(self.folder/"door")), self.listen(socket.AF_UNIX, f"\0{self.marker}")]
        (self.folder/"door").chmod(0o777)
        self.tcp, self.udp = (s.getsockname()[1] for s in self.sockets[:2])
        add_key = ctypes.CDLL(None, use_errno=True).syscall
        self.keyring = add_key(ctypes.c_long(217 if ARM else 248), b"user", self.marker.encode(), self.secret.encode(), len(self.secret), -3) > 0
        self.fd = os.open(self.file, os.O_RDONLY)
        os.set_inheritable(self.fd, True)
        self.start()

    def listen(self, family, address, kind=socket.SOCK_STREAM):
        s = socket.socket(family, kind)
        s.bind(address); s.settimeout(.2)
        if kind == socket.SOCK_STREAM: s.listen()
        threading.Thread(target=self.hear, args=(s, kind), daemon=True).start()
        return s

    def hear(self, s, kind):
        while s.fileno() >= 0:
            try: self.said.append(s.recv(100) if kind == socket.SOCK_DGRAM else s.accept()[0].recv(100))
            except TimeoutError: pass
            except OSError: return

    def start(self):
        self.victim = subprocess.Popen([sys.executable, "-c", VICTIM, self.secret, str(self.folder/"continued")], env=dict(KEY=self.secret), stdout=-1, text=True)
        self.address = int(self.victim.stdout.readline())

    def fill(self, code):
        "The program with the names of what is to be reached written in."
        values = dict(FILE=str(self.file), FOLDER=str(self.folder), TCP=self.tcp, UDP=self.udp, VICTIM=self.victim.pid, ADDRESS=self.address, MARKER=self.marker, PROJECT=str(ROOT),
                      PACKAGES=sysconfig.get_path("purelib"), LENGTH=len(self.secret), PARENT=os.getpid())
        return PRELUDE + re.sub(r"@(\w+)", lambda m: repr(values[m[1]]), textwrap.dedent(code))

    def close(self):
        os.environ.clear(); os.environ.update(self.environment)
        self.victim.kill(); self.victim.wait(); self.victim.stdout.close()
        for s in self.sockets: s.close()
        os.close(self.fd)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def outside():
    o = Outside()
    yield o
    o.close()

@pytest.fixture(scope="module")
def tried(outside):
    "All escapes, several at a time."
    assert available() == ""
    with ThreadPoolExecutor(4) as pool: return dict(zip(ESCAPES, pool.map(lambda e: run_apart(outside.fill(e.code), timeout=2. if "sleep" in e.code else 30.), ESCAPES)))


def processes(marker, dead=False):
    "Processes of that name, wherever they are; the dead ones too that nobody has collected yet."
    out = []
    for p in Path("/proc").glob("[0-9]*"):
        try: name, state = re.search(r"\((.*)\) (\S)", (p/"stat").read_text(), re.S).groups()
        except OSError: continue
        if name == marker and (dead or state != "Z"): out.append(int(p.name))
    return out


# ---- what shows that an escape has worked

def leaked(o, said): return o.secret in said
def told(o, said): return "ESCAPED" in said
def heard(by): return lambda o, said: time.sleep(.05) or f"{by} {o.marker}".encode() in o.said
def written(o, said):
    places = [o.folder, Path("/", "tmp"), Path("/var/tmp"), Path("/dev/shm"), Path("/run"), Path("/"), ROOT, Path(sysconfig.get_path("purelib")), Path.home()]
    found = [p/o.marker for p in places if (p/o.marker).exists()]
    for p in found: p.unlink()
    return bool(found)
def died(o, said):
    try: o.victim.wait(.3)
    except subprocess.TimeoutExpired: return False
    o.start()
    return True
def reniced(o, said):
    if os.getpriority(os.PRIO_PROCESS, o.victim.pid) == 0: return False
    os.setpriority(os.PRIO_PROCESS, o.victim.pid, 0)
    return True
def continued(o, said): time.sleep(.1); return (o.folder/"continued").exists()
def survived(o, said):
    time.sleep(.2)
    alive = processes(o.marker)
    for p in alive: os.kill(p, signal.SIGKILL)
    return bool(alive)


PRELUDE = """
import ctypes, glob, os, resource, signal, socket, stat, subprocess, sys, tempfile, time
libc = ctypes.CDLL(None, use_errno=True)
class Part(ctypes.Structure): _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]
def call(x86, arm, *args): # whole registers: a plain int fills half of one, and the rest is chance
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return libc.syscall(ctypes.c_long(arm if os.uname().machine == "aarch64" else x86), *wide)
def each(act, things):
    for t in things:
        try: act(t)
        except (OSError, ValueError): pass
def escaped(truth=True): print("ESCAPED" if truth else "")
"""

@dataclass(frozen=True)
class Escape:
    name: str
    code: str
    worked: object      # (outside, what the program printed) -> did it escape?
    plain: bool = True  # whether it is shown to succeed in a plain process

    def __repr__(self): return self.name


ESCAPES = [
    # files
    Escape("read the home folder", "print(open(@FILE).read())", leaked),
    Escape("look for files by name", "print([open(f).read() for f in glob.glob(@FOLDER + '/*/.*')])", leaked),
    Escape("list the project", "escaped('setup.py' in os.listdir(@PROJECT))", told),
    Escape("read the source of an editable install", "escaped(open(@PROJECT + '/causal_prompts/core.py').read())", told),
    Escape("read the list of users", "escaped('root:' in open('/etc/passwd').read())", told),
    Escape("read the passwords", "escaped('root:' in open('/etc/shadow').read())", told, SUPER),
    Escape("follow a symbolic link out", "os.symlink(@FILE, 'link'); print(open('link').read())", leaked),
    Escape("climb out by ..", "print(open('../' * 40 + @FILE).read())", leaked),
    Escape("link a file in", """
        here = tempfile.mkdtemp(dir=@FOLDER if os.path.exists(@FOLDER) else '.')
        os.link(@FILE, here + '/hard'); print(open(here + '/hard').read())""", leaked),
    Escape("step out of a chroot", "os.mkdir('x'); os.chroot('x'); os.chdir('../' * 40); os.chroot('.'); print(open(@FILE).read())", leaked, SUPER),
    Escape("go through the root of another process", "each(lambda p: print(open(f'/proc/{p}/root' + @FILE).read()), [1, @VICTIM, os.getppid()])", leaked),
    Escape("read a descriptor left open", "each(lambda fd: print(os.pread(fd, 100, 0)), range(3, 256))", leaked),
    Escape("reopen the descriptors of others", """
        def reopen(fd):
            if os.readlink(fd) == @FILE: print(open(fd).read())
        each(reopen, glob.glob('/proc/[0-9]*/fd/*'))""", leaked),
    Escape("write beside the user's files", "open(@FOLDER + '/' + @MARKER, 'w').write('x')", written),
    Escape("write where everyone may", "each(lambda d: open(f'{d}/' + @MARKER, 'w').write('x'), ['/tmp', '/var/tmp', '/dev/shm', '/run', '/'])", written),
    Escape("plant a module in the packages", "open(@PACKAGES + '/' + @MARKER, 'w').write('x')", written, False),
    Escape("write into the project", "open(@PROJECT + '/' + @MARKER, 'w').write('x')", written, False),
    Escape("make the packages writable", """
        for place in (@PACKAGES, '/', os.path.dirname(os.path.dirname(@PACKAGES))): libc.mount(None, place.encode(), None, 32 | 4096, None)
        open(@PACKAGES + '/' + @MARKER, 'w').write('x')""", written, False),
    Escape("change the mode of what is there", "os.chmod(sys.executable, 0o777); escaped()", told, False),
    Escape("mount over the machine", "each(lambda d: escaped(not libc.mount(b'none', d, b'tmpfs', 0, None)), [os.getcwdb(), b'/usr', b'/box'])", told, False),
    Escape("unmount the walls", "escaped(not libc.umount2(b'/proc', 2))", told, False),
    Escape("read the disk below the files", """
        blocks = [f for f in glob.glob('/dev/**', recursive=True) if stat.S_ISBLK(os.stat(f).st_mode)]
        each(lambda f: escaped(open(f, 'rb').read(1)), blocks)""", told, False),
    Escape("make a device", "os.mknod('disk', stat.S_IFBLK | 0o666, os.makedev(254, 0)); escaped()", told, False),
    Escape("read the machine's memory", "each(lambda f: escaped(open(f, 'rb').read(1)), ['/dev/mem', '/dev/kmem', '/proc/kcore', '/dev/kmsg'])", told, False),
    Escape("open a file by its handle", """
        handle, mount = ctypes.create_string_buffer((128).to_bytes(4, 'little'), 136), ctypes.c_int()
        escaped(not call(303, 264, -100, b'/', handle, ctypes.byref(mount), 0) or call(304, 265, os.open('/', os.O_RDONLY), handle, 0) >= 0)""", told, False),
    # keys and other processes
    Escape("read the key", "print(dict(os.environ))", leaked),
    Escape("read the environments of all processes", "each(lambda f: print(open(f, 'rb').read()), glob.glob('/proc/*/environ'))", leaked),
    Escape("read the environment of the parent", "escaped(b'PATH=' in open(f'/proc/{os.getppid()}/environ', 'rb').read())", told),
    Escape("read the memory of a process", """
        here = ctypes.create_string_buffer(@LENGTH)
        call(310, 270, @VICTIM, ctypes.byref(Part(ctypes.addressof(here), @LENGTH)), 1, ctypes.byref(Part(@ADDRESS, @LENGTH)), 1, 0)
        print(here.raw)""", leaked, PTRACE),
    Escape("read the memory of a process as a file", "f = open(f'/proc/{@VICTIM}/mem', 'rb', 0); f.seek(@ADDRESS); print(f.read(@LENGTH))", leaked, PTRACE),
    Escape("write into the memory of the process beside it", """
        each(lambda p: escaped(open(f'/proc/{p}/mem', 'r+b', 0)), [p for p in os.listdir('/proc') if p.isdigit() and int(p) != os.getpid()])""", told, PTRACE),
    Escape("end a process as its debugger", """
        if not libc.ptrace(16, @VICTIM, None, None): os.waitpid(@VICTIM, 0x40000000); libc.ptrace(8, @VICTIM, None, None)""", died, PTRACE),
    Escape("kill a process", "os.kill(@VICTIM, 9)", died),
    Escape("signal everyone", "os.kill(-1, signal.SIGCONT)", continued, False),
    Escape("kill the one who waits", "each(lambda p: os.kill(p, 9), {os.getppid(), @PARENT, 1}); escaped(os.getppid() == @PARENT)", told, False),
    Escape("slow another process down", "os.setpriority(os.PRIO_PROCESS, @VICTIM, 5)", reniced),
    Escape("read a key in the kernel", """
        held = ctypes.create_string_buffer(100)
        call(250, 219, 11, call(250, 219, 10, -3, b'user', @MARKER.encode(), 0), held, 100)
        print(held.raw)""", leaked, "keyring"),
    Escape("read the kernel's log", "escaped(libc.klogctl(10, None, 0) > 0)", told, SUPER),
    # network
    Escape("connect to a server here", "socket.create_connection(('127.0.0.1', @TCP), 2).send(b'tcp ' + @MARKER.encode())", heard("tcp")),
    Escape("send a datagram, as a name server is asked", "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'udp ' + @MARKER.encode(), ('127.0.0.1', @UDP))", heard("udp")),
    Escape("connect to a socket in a folder", "s = socket.socket(socket.AF_UNIX); s.connect(@FOLDER + '/door'); s.send(b'door ' + @MARKER.encode())", heard("door")),
    Escape("connect to a socket without a file", "s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + @MARKER); s.send(b'name ' + @MARKER.encode())", heard("name")),
    Escape("find the machine's name and addresses", "escaped([i for i in socket.if_nameindex() if i[1] != 'lo'] or socket.gethostname() != 'box')", told),
    Escape("listen for others", "socket.create_server(('127.0.0.1', 0)); escaped()", told),
    Escape("talk to the hypervisor", "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM); escaped()", told, False),
    Escape("talk to the kernel's network", "each(lambda f: (socket.socket(f, socket.SOCK_RAW), escaped()), (16, 17, 38))", told),
    Escape("queue calls past the filter", "escaped(call(425, 425, 4, ctypes.create_string_buffer(120)) >= 0)", told, False),
    # rights
    Escape("become another", "os.setuid(0 if os.getuid() else 1); escaped()", told, SUPER),
    Escape("have rights", "escaped(int(next(l for l in open('/proc/self/status') if l.startswith('CapEff')).split()[1], 16))", told, SUPER),
    Escape("make a user namespace", "escaped(not libc.unshare(0x10000000))", told),
    Escape("make a process in new namespaces", """
        pid = call(56, 220, 0x10000000 | 17, 0, 0, 0, 0)
        if pid == 0: os._exit(0)
        escaped(pid > 0)""", told, False),
    Escape("find a program with the rights of its owner", """
        escaped(any(os.lstat(f).st_mode & stat.S_ISUID for f in glob.glob('/usr/bin/*')))""", told, any(f.lstat().st_mode & stat.S_ISUID for f in Path("/usr/bin").iterdir())),
    Escape("start a program", "subprocess.run(['sh', '-c', 'true'], check=True); escaped()", told),
    Escape("become a program", "os.execv(sys.executable, [sys.executable, '-c', 'print(\"ESC\" + \"APED\")'])", told),
    Escape("set the clock", "time.clock_settime(time.CLOCK_REALTIME, time.time()); escaped()", told, False),
    Escape("rename the machine", "socket.sethostname('escaped'); escaped()", told, False),
    Escape("set the kernel's switches", "each(lambda f: (open(f'/proc/sys/{f}', 'w').write('1'), escaped()), ['kernel/domainname', 'vm/overcommit_memory', 'net/ipv4/ip_forward'])", told, False),
    Escape("raise its limits", "each(lambda k: (resource.setrlimit(k, (9999, 9999)), escaped()), (resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_CPU))", told),
    Escape("be dumped to disk", "libc.prctl(4, 1, 0, 0, 0); escaped(libc.prctl(3, 0, 0, 0, 0))", told),
    # outlive the end
    Escape("leave a daemon behind", """
        if os.fork() == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            libc.prctl(15, @MARKER.encode(), 0, 0, 0)
            for fd in range(3): os.close(fd)
            time.sleep(60)""", survived),
    Escape("outlive the timeout in a session of its own", """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0: os.setsid()
        libc.prctl(15, @MARKER.encode(), 0, 0, 0)
        for fd in range(3): os.close(fd)
        time.sleep(60)""", survived),
    Escape("unlearn to die", """
        each(lambda s: signal.signal(s, signal.SIG_IGN), range(1, 32))
        libc.prctl(1, 0, 0, 0, 0); libc.prctl(15, @MARKER.encode(), 0, 0, 0)
        each(os.close, range(64))
        time.sleep(60)""", survived, False),
]


@pytest.mark.parametrize("escape", ESCAPES, ids=repr)
def test_escape(escape, outside, tried): assert tried[escape].isolated and not escape.worked(outside, tried[escape].stdout)


@pytest.mark.parametrize("escape", [e for e in ESCAPES if e.plain], ids=repr)
def test_plain_process_does_not_stop(escape, outside, tmp_path):
    if escape.plain == "keyring" and not outside.keyring: pytest.skip("this kernel keeps no keys")
    call, patience = [sys.executable, "-c", outside.fill(escape.code)], 3 if "sleep" in escape.code else 30
    try: said = subprocess.run(call, capture_output=True, text=True, timeout=patience, cwd=tmp_path, close_fds=False).stdout
    except subprocess.TimeoutExpired: said = ""
    assert escape.worked(outside, said)


# ---- limits

def worst(code, seconds=1., name=f"{NAME}-w", **kwargs):
    "The run, and the most that the outside saw while it lasted: processes, threads, MB."
    most, ran = dict(processes=0, threads=0, memory=0), []
    thread = threading.Thread(target=lambda: ran.append(run_apart(f"import ctypes\nctypes.CDLL(None).prctl(15, {name.encode()!r}, 0, 0, 0)\n{code}", timeout=seconds, **kwargs)))
    thread.start()
    while thread.is_alive():
        seen = processes(name)
        status = []
        for p in seen:
            try: status.append(Path(f"/proc/{p}/status").read_text())
            except OSError: pass
        total = lambda k: sum(int(m[1]) for t in status if (m := re.search(rf"^{k}:\s*(\d+)", t, re.M)))
        for k, v in dict(processes=len(seen), threads=total("Threads"), memory=(total("RssAnon") + total("RssShmem")) // 1024).items(): most[k] = max(most[k], v)
        time.sleep(.005)
    thread.join()
    assert not processes(name, dead=True)
    return ran[0], most


FORKS = "import ctypes, os\nlibc = ctypes.CDLL(None)\nx86 = os.uname().machine == 'x86_64'\n"

WAYS = {
    "os": "os.fork()", "libc": "libc.fork()", "spawn": "os.posix_spawn('/proc/self/exe', ['x'], {})", "fork": "libc.syscall(ctypes.c_long(57 if x86 else 220), 0, 0, 0, 0, 0)",
    "clone": "libc.syscall(ctypes.c_long(56 if x86 else 220), 17, 0, 0, 0, 0)",
    "clone3": "libc.syscall(ctypes.c_long(435), ctypes.create_string_buffer((0).to_bytes(32, 'little') + (17).to_bytes(8, 'little') + bytes(48)), 88)"}

def test_fork_bomb_stays_one_process():
    each = ", ".join(f"{k!r}: lambda: {v}" for k, v in WAYS.items())
    ran, most = worst(FORKS + f"""
import time
result = {{}}
for name, fork in {{{each}}}.items():
    result[name], end = 0, time.time() + .15
    while time.time() < end:
        try: result[name] += fork() >= 0
        except OSError: pass
""", 20.)
    assert ran.status == "ok" and ran.result == dict.fromkeys(WAYS, 0) and most["processes"] == 1


def test_thread_bomb_stays_within_its_number():
    ran, most = worst("""
import threading, time
threading.stack_size(1 << 15)
result = 0
try:
    while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); result += 1
except RuntimeError: time.sleep(.2)
""", 20.)
    assert ran.status == "ok" and 20 < ran.result <= inside.THREADS and most["threads"] <= inside.THREADS


@pytest.mark.skipif(not SUPER, reason="only root escapes the limit on processes")
def test_root_in_a_user_namespace_is_bound_by_no_limit_on_processes():
    "Why root is changed into someone else: the way that suggests itself does not bind."
    code = "import resource, subprocess\nresource.setrlimit(resource.RLIMIT_NPROC, (1, 1))\np = [subprocess.Popen(['sleep', '5']) for _ in range(5)]\nprint(len(p))\nfor x in p: x.kill()"
    bound = subprocess.run(["bwrap", "--unshare-user", "--uid", "65534", "--dev-bind", "/", "/", sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert bound.stdout.strip() == "5"


@pytest.mark.parametrize("memory, grow", [
    (120, "held = []\nwhile True: held.append(bytearray(1 << 20))"),
    (120, "held, n = {}, 0\nwhile True: held[n] = str(n); n += 1"),
    (120, "import mmap\nheld = []\nwhile True:\n    m = mmap.mmap(-1, 1 << 20); m.write(b'x' * (1 << 20)); held.append(m)"),
    (300, "import numpy as np\nheld = []\nwhile True: held.append(np.ones(1 << 17))"),
    (300, "import numpy as np\nnp.ones((1 << 20, 1 << 10))")], ids=["bytearray", "small objects", "shared mmap", "numpy", "one numpy array"])
def test_memory_bomb_ends_at_the_limit(memory, grow):
    ran, most = worst(grow, 30., memory=memory)
    assert ran.status == "limit" and ran.error.startswith("memory") and most["memory"] < memory + inside.SPARE


@pytest.mark.parametrize("hold", [
    "fd = os.memfd_create('x'); os.write(fd, bytes(1 << 20))",
    "fd = libc.shmget(0, ctypes.c_size_t(1 << 20), 0o1600)\n    if fd < 0: raise OSError",
    "fd = os.open('/dev/shm/x' + str(n), os.O_CREAT | os.O_RDWR); os.write(fd, bytes(1 << 20)); os.close(fd)"], ids=["memfd", "System V", "POSIX"])
def test_memory_outside_the_address_space_cannot_be_held(hold):
    ran = run_apart(f"import ctypes, os\nlibc = ctypes.CDLL(None)\nresult = 0\nfor n in range(100):\n  try:\n    {hold}\n    result += 1\n  except OSError: break", disk=8)
    assert ran.status == "ok" and ran.result <= 9


def test_disk_fill_ends_at_the_limit():
    ran = run_apart("n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(1 << 19)); n += 1; print(n)", disk=4, timeout=20.)
    assert ran.status == "limit" and ran.error.startswith("disk") and "No space left" in ran.error and 4 <= int(ran.stdout.split()[-1]) <= 10

def test_huge_file_ends_at_the_limit():
    ran = run_apart("f = open('f', 'wb')\nwhile True: f.write(bytes(1 << 20))", disk=4)
    assert ran.status == "limit" and ran.error.startswith("disk")

def test_sparse_file_is_no_way_round():
    assert run_apart("f = open('f', 'wb')\nf.truncate(1 << 40)", disk=4).error.startswith("disk")

def test_many_files_end_at_the_limit():
    ran = run_apart("import os\nresult = 0\ntry:\n    while True: os.mkdir(f'd{result}'); result += 1\nexcept OSError: pass", timeout=20.)
    assert ran.status == "ok" and 1000 < ran.result < inside.FILES

def test_there_is_one_place_to_write():
    ran = run_apart("""
import os
result = []
for d, dirs, names in os.walk("/"):
    dirs[:] = [] if d.count("/") > 4 else [n for n in dirs if d != "/" or n not in ("proc", "usr", "lib", "lib64")]
    try: open(f"{d}/written", "w").close(); result.append(d)
    except OSError: pass
""", {"data/table.csv": ""})
    assert ran.status == "ok" and sorted(ran.result) == ["/box", "/box/home", "/box/shm", "/box/tmp", "/box/work", "/box/work/data"]

def test_packages_that_everyone_may_write_are_read_only(outside, monkeypatch):
    packages = outside.folder/"site-packages"
    packages.mkdir(exist_ok=True); packages.chmod(0o777)
    (packages/"own.py").write_text("x = 3"); (packages/"own.py").chmod(0o666)
    monkeypatch.syspath_prepend(str(packages))
    code = """
        import own
        result = own.x
        for flags in (32 | 4096, 32): each(lambda d: libc.mount(None, d, None, flags, None), [b'/', os.path.dirname(own.__file__).encode()])
        each(lambda p: open(p, 'w').write('x = 4'), [own.__file__, os.path.dirname(own.__file__) + '/' + @MARKER])"""
    ran = run_apart(outside.fill(code))
    assert (ran.status, ran.result) == ("ok", 3) and [p.name for p in packages.iterdir()] == ["own.py"] and (packages/"own.py").read_text() == "x = 3"

def test_endless_output_is_cut_while_it_is_read():
    for stream in ("stdout", "stderr"):
        ran = run_apart(f"import sys\nwhile True: sys.{stream}.write('x' * 9999)", output=50_000)
        assert ran.status == "limit" and f"50,000 bytes on {stream}" in ran.error and len(getattr(ran, stream)) == 50_000

def test_open_files_are_limited():
    ran = run_apart("import os\nheld = []\nwhile True: held.append(os.open('/dev/null', os.O_RDONLY))")
    assert ran.status == "limit" and ran.error.startswith("open files")

ENDLESS = [
    "import time; time.sleep(60)", "while True: pass", "import re; re.match('(a+)+$', 'a' * 60 + 'b')", "import signal, time\nfor s in (1, 2, 3, 15, 24): signal.signal(s, signal.SIG_IGN)\ntime.sleep(60)",
    "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()", "import sys\nsys.setswitchinterval(1e9)\nwhile True: sum(range(10**7))",
    "import os\nfor fd in range(3, 64):\n    try: os.close(fd)\n    except OSError: pass\nos.close(1); os.close(2)\nwhile True: pass"]

def test_what_does_not_end_is_ended():
    with ThreadPoolExecutor(4) as pool: done = list(pool.map(lambda code: run_apart(code, timeout=.5), ENDLESS))
    assert all(ran.status == "limit" and ran.error == "timeout: not finished after 0.5 s" and .5 <= ran.seconds < 10 and ran.result is None for ran in done)

def test_processor_time_ends_too():
    ran = run_apart("import resource\nresult = resource.getrlimit(resource.RLIMIT_CPU)", timeout=3.2)
    assert ran.result == [5, 5]
    ran = run_apart("import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True: pass", timeout=60.)
    assert ran.status == "limit" and "processor time" in ran.error


# ---- the result

SEND = """
import os, stat
report = [fd for fd in range(3, 64) if os.path.exists(f"/proc/self/fd/{fd}") and stat.S_ISFIFO(os.fstat(fd).st_mode)]
def send(message):
    for fd in report:
        try: os.write(fd, message)
        except OSError: pass
"""

@pytest.mark.parametrize("message, says", [
    (b"{}\n", "KeyError"), (b"not json\n", "JSONDecodeError"), (b"\xff\xfe\n", "UnicodeDecodeError"), (b"[1]\n", "TypeError|AttributeError"), (b"", "left before its end"),
    (b'{"status": "ok", "error": "", "result": 1, "sizes": {}}\nleft over', "9 bytes where 0 were announced"),
    (b'{"status": "ok", "error": "", "result": 1, "sizes": {"x": 10}}\nshort', "5 bytes where 10"),
    (b'{"status": "ok", "error": "", "result": 1, "sizes": {"other.txt": 1}}\nx', "not asked for"),
    (b'{"status": "ok", "error": "", "result": 1, "sizes": {"x": 1e999}}\n', "TypeError|OverflowError|ValueError"),
    (b'{"status": "perfect", "error": "", "result": 1, "sizes": {}}\n', "not a report"),
    (b'{"status": "ok", "error": ["x"], "result": 1, "sizes": {}}\n', "not a report"),
    (b'{"status": "ok", "error": "", "result": 1, "isolated": false, "sizes": {}}\n', "not a report"),
    (b'{"status": "ok", "error": "", "result": "\\ud800", "sizes": {}}\n', "UnicodeEncodeError"),
    (b'{"status": "ok", "error": "", "result": ' + b"9" * 5000 + b', "sizes": {}}\n', "ValueError"),
    (b"[" * 100_000, "RecursionError"), (b'{"a":' * 100_000, "RecursionError"), (b'{"status": "ok", "error": "", "sizes": {}, "result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "RecursionError")],
    ids=["empty", "not JSON", "not text", "a list", "nothing", "too long", "too short", "other files", "no size", "other status", "error no text",
         "more fields", "half a surrogate", "long number", "deep list", "deep dict", "deep result"])
def test_a_forged_report_is_refused(message, says):
    got = dict(report=bytearray(inside.READY + message))
    out = sandbox._outcome(got, "", 0, 1., 1000, ["x"])
    assert out["status"] == "fail" and not {"result", "files"} & out.keys() and re.search(says, out["error"])

def head(sizes, result="1"): return b'{"status": "ok", "error": "", "result": %b, "sizes": {%b}}\n' % (result.encode(), sizes.encode())

@pytest.mark.parametrize("message, says", [
    (head('"x": -1, "y": 6') + b"12345", "a size of -1"), (head('"x": 6, "y": -1') + b"12345", "a size of -1"), (head('"x": true') + b"1", "a size of True"), (head('"x": "1"') + b"1", "a size of '1'"), (head('"x": 1.0') + b"1", "a size of 1.0"),
    (head('"x": NaN') + b"1", "a size of nan"), (head('"x": null'), "a size of None"), (head(f'"x": {10**12}') + b"1", "1 bytes where 1,000,000,000,000"), (head(f'"x": {10**4000}') + b"1", "1 bytes where 1"),
    (head("", "[" * 101 + "]" * 101), "nested more than 100 deep"), (head("", '{"a":' * 101 + "1" + "}" * 101), "nested more than 100 deep"), (b'{"status": ["ok"], "error": "", "result": 1, "sizes": {}}\n', "not a report"),
    (b'{"status": "ok", "error": "", "result": 1, "sizes": [1]}\n1', "AttributeError")])
def test_sizes_and_depth_are_checked_before_anything_is_copied(message, says):
    out = sandbox._outcome(dict(report=bytearray(inside.READY + message)), "", 0, 1., 1000, ["x", "y"])
    assert out["status"] == "fail" and says in out["error"] and len(out["error"]) < 200

@pytest.mark.parametrize("message", [
    head("".join(f'"{i}": 399999, "-{i}": -399999, ' for i in range(12_000)) + '"z": 400000') + b"x" * 400_000, head("", "[" + "[]," * 300_000 + "[]]"), head("", "[" + '{"a":1},' * 120_000 + "1]"), head("", '"' + "\\ud83d\\ude00" * 80_000 + '"')],
    ids=["sizes to and fro", "many lists", "many dicts", "escapes"])
def test_the_caller_holds_a_few_times_what_was_sent(message):
    import tracemalloc
    got = dict(report=bytearray(inside.READY + message))
    tracemalloc.start()
    try: sandbox._outcome(got, "", 0, 1., 1000, ["x"]); peak = tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()
    assert len(message) < 1_600_000 and peak < 60_000_000

def test_files_are_copied_once():
    import tracemalloc
    got = dict(report=bytearray(inside.READY + head('"x": 20000000, "y": 1') + b"x" * 20_000_001))
    tracemalloc.start()
    try: out = sandbox._outcome(got, "", 0, 1., 1000, ["x", "y"]); peak = tracemalloc.get_traced_memory()[1]
    finally: tracemalloc.stop()
    assert len(out["files"]["x"]) == 20_000_000 and out["files"]["y"] == b"x" and peak < 21_000_000

def test_a_forged_report_is_refused_on_its_real_way():
    ran = run_apart(f"{SEND}\nsend(open('message', 'rb').read())\nos._exit(0)", {"message": b"[" * 100_000}, fetch=["x"])
    assert ran.status == "fail" and ran.result is None and ran.files == {} and "RecursionError" in ran.error

def test_a_report_sent_twice_is_refused():
    ran = run_apart(f"{SEND}\nsend(b'{{\"status\": \"ok\", \"error\": \"\", \"result\": 1, \"sizes\": {{}}}}\\n')\nresult = 2")
    assert ran.status == "fail" and "unreadable" in ran.error and ran.result is None

def test_a_well_forged_report_is_the_word_of_the_program_and_no_more():
    ran = run_apart(f"{SEND}\nsend(b'{{\"status\": \"ok\", \"error\": \"\", \"result\": 42, \"sizes\": {{}}}}\\n')\nos._exit(0)")
    assert (ran.status, ran.result, ran.files, ran.isolated) == ("ok", 42, {}, True)

def test_a_huge_report_is_cut_while_it_is_read():
    ran = run_apart(f"{SEND}\nwhile True: send(b'x' * 60000)")
    assert ran.status == "limit" and ran.error == "result: more than 1,000,000 bytes"
    assert run_apart("result = 'x' * 1_100_000", fetch=["x"]).status == "fail" # with room for files the head has its own cap

@pytest.mark.parametrize("code, result", [
    ("import json\njson.dumps = lambda *a, **k: '{}'\nresult = 1", None), ("import json\njson.dumps = json.JSONEncoder = None\nresult = 1", None),
    ("import builtins\nbuiltins.vars = builtins.isinstance = builtins.open = None\nresult = 1", None), ("import os\nos.write = lambda fd, b: len(b)\nresult = 1", None),
    ("import sys\nsys.modules.clear()\nresult = 1", 1), ("import os\nos._exit = lambda code: None\nresult = 1", 1),
    ("import gc\nfor o in gc.get_objects():\n    if isinstance(o, dict) and 'memory' in o and 'cpu' in o: o.clear()\nresult = 1", None),
    ("print('{\"status\": \"ok\", \"result\": 42}')", None), ("result = __import__('atexit').register(lambda: open('later', 'w'))\nresult = 3", 3)],
    ids=["dumps lies", "dumps breaks", "builtins", "write lies", "modules", "does not leave", "clears the job", "prints one", "at exit"])
def test_tampering_with_the_interpreter_harms_the_program_alone(code, result):
    ran = run_apart(code, timeout=2.)
    assert ran.result == result and (ran.status == "ok" if result or "print" in code else ran.status in ("fail", "limit"))

VALUES = {
    "1": 1, "None": None, "True": True, "'æ'": "æ", "(1, 2.5)": [1, 2.5], "{3, 1}": [1, 3],
    "{(1, 2): 'x', 3: None}": {"(1, 2)": "x", "3": None}, "np.float64(2)": 2.0, "np.array([[1, 2]])": [[1, 2]], "{'n': np.int64(3)}": {"n": 3},
    "np.bool_(True)": True, "np.str_('x')": "x", "datetime.date(2024, 5, 1)": "2024-05-01",
    "pd.DataFrame({'a': [1, 2]}, index=['x', 'y'])": {"a": {"x": 1, "y": 2}}, "pd.Series([1, 2], index=['x', 'y'])": {"x": 1, "y": 2},
    "pd.Timestamp('2024-05-01')": "2024-05-01T00:00:00", "collections.Counter('aab')": {"a": 2, "b": 1}, "[float('inf'), -float('inf')]": [math.inf, -math.inf], "pd.Index([1, 2])": [1, 2]}

def test_results_are_plain_values():
    ran = run_apart(f"import collections, datetime\nimport numpy as np, pandas as pd\nresult = [{', '.join(VALUES)}]")
    assert dict(zip(VALUES, ran.result)) == VALUES and [type(v) for v in ran.result] == [type(v) for v in VALUES.values()]
    assert math.isnan(run_apart("result = float('nan')").result)

@pytest.mark.parametrize("value, says", [("object()", "got object; convert"), ("open", "got builtin_function_or_method"), ("10**5000", "integer string conversion"),
                                         ("3j", "got complex"), ("b'x'", "got bytes")])
def test_results_that_cannot_be_passed_on_are_said_to_be(value, says):
    ran = run_apart(f"result = {value}")
    assert ran.status == "fail" and ran.result is None and says in ran.error


# ---- files

def test_files_go_in_and_come_back(tmp_path):
    (tmp_path/"on disk.bin").write_bytes(bytes(range(256)))
    code = """
import os
result = sorted(os.path.join(d, n) for d, _, names in os.walk('.') for n in names)
open('out.bin', 'wb').write(open('a/b.bin', 'rb').read() + open('t.csv', encoding='utf-8').read().encode())
"""
    ran = run_apart(code, {"t.csv": "å,b\n", "a/b.bin": tmp_path/"on disk.bin", "e": b""}, fetch=("out.bin", "absent", "t.csv"))
    assert ran.result == ["./a/b.bin", "./e", "./t.csv"] and ran.files == {"out.bin": bytes(range(256)) + "å,b\n".encode(), "t.csv": "å,b\n".encode()}

@pytest.mark.parametrize("make", [
    "os.symlink('/etc/passwd', 'f')", "os.symlink('real', 'f'); open('real', 'w').write('x')", "os.mkfifo('f')", "os.mkdir('f')", "import socket; socket.socket(socket.AF_UNIX).bind('f')",
    "os.symlink('/dev/zero', 'f')", "open('f', 'w').close(); os.chmod('f', 0)"], ids=["link out", "link", "fifo", "folder", "socket", "endless device", "closed"])
def test_only_regular_files_of_bounded_size_are_fetched(make):
    ran = run_apart(f"import os\ntry:\n    {make}\nexcept OSError: pass", fetch=["f"], disk=8)
    assert ran.status == "ok" and ran.files == {}

def test_fetched_files_are_bounded_together():
    ran = run_apart("for n in 'abc': open(n, 'wb').truncate(5 << 20)", fetch=["a", "b", "c"], disk=8)
    assert ran.status == "ok" and {k: len(v) for k, v in ran.files.items()} == {"a": 5 << 20}

def test_a_figure_comes_back_also_where_the_program_failed():
    ran = run_apart("import matplotlib.pyplot as plt\nplt.plot([1, 2]); plt.savefig('figure.png')\n1 / 0", fetch=["figure.png"])
    assert ran.status == "fail" and ran.files["figure.png"].startswith(b"\x89PNG") and "font cache" not in ran.stderr

@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "..", ".", "", "a//b", "./a", "a/", "nul\0", "line\nbreak"])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ValueError, match="relative and plain"): run_apart("pass", {name: "x"})
    with pytest.raises(ValueError, match="relative and plain"): run_apart("pass", fetch=[name])

def test_paths_that_are_no_regular_files_are_refused(tmp_path):
    (tmp_path/"link").symlink_to("/etc/passwd"); os.mkfifo(tmp_path/"fifo")
    with pytest.raises(ValueError, match="must not be a symbolic link"): run_apart("pass", {"f": tmp_path/"link"})
    for path in (tmp_path/"fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(ValueError, match="must be a regular file, got something else"): run_apart("pass", {"f": path})
    with pytest.raises(ValueError, match="got none of that name: absent"): run_apart("pass", {"f": tmp_path/"absent"})

def test_arguments_are_checked():
    for bad in (dict(timeout=0), dict(timeout=math.nan), dict(memory=-1), dict(disk=True), dict(output="many"), dict(timeout=math.inf)):
        with pytest.raises(ValueError, match=f"{[*bad][0]} must be a number above 0"): run_apart("pass", **bad)
    with pytest.raises(TypeError, match="code must be a text"): run_apart(b"pass")
    with pytest.raises(TypeError, match=r"fetch must be a list of names.*pass \['a.png'\]"): run_apart("pass", fetch="a.png")
    with pytest.raises(TypeError, match="files must map names"): run_apart("pass", ["a.csv"])
    with pytest.raises(TypeError, match="got int for 'a'"): run_apart("pass", {"a": 1})
    with pytest.raises(ValueError, match="must fit on the disk of 1 MB, got 1.5 MB"): run_apart("pass", {"a": bytes(3 << 19)}, disk=1)
    with pytest.raises(ValueError, match="at most 1024 files"): run_apart("pass", {f"f{i}": b"" for i in range(1100)})


# ---- imports

EVIL = "raise SystemError('shadowed')"

def test_files_do_not_shadow_modules():
    names = ["json.py", "os.py", "sitecustomize.py", "usercustomize.py", "sandbox.py", "resource.py", "traceback.py",
             "encodings/__init__.py", "threading.py", "code.py", "evil.pth", "pyvenv.cfg", "_decimal.py", "numpy.py"]
    ran = run_apart("import json, os, resource, traceback, threading, decimal, numpy\nresult = json.dumps(1)", dict.fromkeys(names, EVIL))
    assert (ran.status, ran.result, ran.stderr) == ("ok", "1", "")

def test_a_file_can_be_imported(): assert run_apart("import helper; result = helper.x", {"helper.py": "x = 3"}).result == 3

def test_the_environment_of_the_caller_does_not_steer_the_interpreter(monkeypatch, outside):
    (outside.folder/"sitecustomize.py").write_text(EVIL)
    for k in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD", "PYTHONUSERBASE"): monkeypatch.setenv(k, str(outside.folder))
    monkeypatch.setenv("PYTHONSTARTUP", str(outside.folder/"sitecustomize.py"))
    monkeypatch.setenv("PYTHONINSPECT", "1")
    ran = run_apart("import os, sys\nresult = [k for k in os.environ if k.startswith(('PYTHON', 'LD_', 'OPENAI'))], sys.flags.interactive")
    assert ran.status == "ok" and ran.result == [["PYTHONHASHSEED"], 0]

def test_a_program_runs_as_a_script_would():
    ran = run_apart("""
import sys, pickle
from dataclasses import dataclass
@dataclass
class A: x: int
if __name__ == '__main__': result = pickle.loads(pickle.dumps(A(3))).x, sys.argv, __file__, list({'b', 'a', 'c'})
""")
    assert ran.result[:3] == [3, ["code.py"], "code.py"] and ran.result == run_apart("result = 3, ['code.py'], 'code.py', list({'b', 'a', 'c'})").result
    ran = run_apart("def f(x):\n    return 1 / x\nprint('before')\nf(0)\n")
    assert ran.status == "fail" and ran.error == "ZeroDivisionError: division by zero" and ran.stdout == "before\n" and "return 1 / x" in ran.stderr and "inside.py" not in ran.stderr
    assert run_apart("import sys; result = 5; sys.exit()").result == 5 and run_apart("import sys; sys.exit('no')").error == "SystemExit: no" and run_apart("input()").error == "EOFError: EOF when reading a line"
    assert run_apart("import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print('late'))).start()").stdout == "late\n"
    assert run_apart("print('å', end='')\nimport sys\nsys.stdout.buffer.write(b'\\xff')").stdout == "å\ufffd"
    assert run_apart("x = 1\n" * 30_000 + "result = x").result == 1


# ---- refusal

@pytest.fixture
def without(monkeypatch):
    "A machine without bubblewrap."
    monkeypatch.setenv("PATH", "")
    available.cache_clear()
    yield
    available.cache_clear()

def test_without_bubblewrap_nothing_runs(without, tmp_path):
    with pytest.raises(SandboxError, match=f"bwrap was not found; the package is called bubblewrap.*pass trust='{WORDS}'"): run_apart(f"open({str(tmp_path/'ran')!r}, 'w')")
    assert not (tmp_path/"ran").exists()

@pytest.mark.parametrize("words", ["yes", WORDS.lower(), f" {WORDS}", f"{WORDS}.", True, None])
def test_only_the_exact_words_allow_it(without, words):
    with pytest.raises(ValueError, match=f"trust must be empty or the words '{WORDS}'"): run_apart("pass", trust=words)

def test_walls_that_cannot_be_built_are_no_walls(monkeypatch, tmp_path):
    fake = tmp_path/"bwrap"
    for script, says in [("echo 'bwrap: No permissions to create a new namespace' >&2; exit 1", "No permissions to create"), ("exit 0", "did not start")]:
        fake.write_text(f"#!/bin/sh\n{script}\n"); fake.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path)); available.cache_clear()
        with pytest.raises(SandboxError, match=f"cannot build the walls here.*{says}"): run_apart("pass")
    available.cache_clear()

@pytest.mark.parametrize("attribute, value, says", [("platform", "darwin", "Linux namespaces, and this is darwin"), ("machine", "riscv64", "x86_64 and aarch64, and this is riscv64")])
def test_other_systems_are_refused(monkeypatch, attribute, value, says):
    if attribute == "platform": monkeypatch.setattr(sandbox.sys, "platform", value)
    else: monkeypatch.setattr(sandbox.platform, "machine", lambda: value)
    available.cache_clear()
    try:
        with pytest.raises(SandboxError, match=says): run_apart("pass")
    finally: available.cache_clear()

def test_a_machine_that_fails_is_no_failed_program(monkeypatch):
    assert available() == ""
    monkeypatch.setattr(sandbox, "_walls", lambda bwrap: [bwrap, "--ro-bind", "/absent", "/absent"])
    with pytest.raises(SandboxError, match="did not start.*/absent"): run_apart("pass")

def test_with_the_words_it_runs_without_walls_and_with_limits(without, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "a key"); monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ran = run_apart("import os\nprint(open('t.csv').read(), 'OPENAI_API_KEY' in os.environ)\nopen('f', 'w').write('made')\nresult = os.getpgid(0) == os.getpid()", {"t.csv": "x"}, trust=WORDS, fetch=["f"])
    assert (ran.status, ran.stdout, ran.result, ran.files, ran.isolated) == ("ok", "x False\n", True, {"f": b"made"}, False)
    assert run_apart("held = []\nwhile True: held.append(bytearray(1 << 20))", memory=200, trust=WORDS).error.startswith("memory")
    assert run_apart("import subprocess; subprocess.run(['/bin/sleep', '60'])", timeout=.5, trust=WORDS).error.startswith("timeout")
    assert run_apart("open('f', 'wb').write(bytes(9 << 20))", disk=8, trust=WORDS).error.startswith("disk")
    assert list(tmp_path.iterdir()) == []

def test_python_may_live_anywhere_and_shows_no_more_than_itself(tmp_path):
    "An environment in the project's own folder, below the folder for temporary files, made over a link."
    (tmp_path/"alias").symlink_to(sys.base_prefix)
    (tmp_path/"notes.txt").write_text("private")
    subprocess.run([tmp_path/"alias"/"bin"/"python3", "-m", "venv", "--without-pip", tmp_path], check=True)
    code = f"import os, sys\nresult = sys.prefix == {str(tmp_path)!r}, 'notes.txt' in os.listdir(sys.prefix)"
    call = [tmp_path/"bin"/"python", "-c", f"from causal_prompts.sandbox import run_apart; print(run_apart({code!r}))"]
    done = subprocess.run(call, env=dict(PYTHONPATH=str(ROOT), PATH=os.environ["PATH"]), capture_output=True, text=True)
    assert "result=[True, False]" in done.stdout, done.stdout + done.stderr

def test_with_walls_the_words_change_nothing(): assert run_apart("pass", trust=WORDS).isolated


# ---- a function to be called many times

def children():
    "Processes whose parent is this one, dead ones too."
    parents = {int(p.name): (p/"stat") for p in Path("/proc").glob("[0-9]*")}
    def parent(f):
        try: return int(f.read_text().rpartition(")")[2].split()[1])
        except OSError: return None
    return {pid for pid, f in parents.items() if parent(f) == os.getpid()}

def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    adopt = lambda on: ctypes.CDLL(None).prctl(36, on, 0, 0, 0) # PR_SET_CHILD_SUBREAPER: orphans come to us instead of disappearing
    adopt(1)
    fds, before = set(os.listdir("/proc/self/fd")), children()
    for code in ["pass", "1 / 0", "import time; time.sleep(9)", "while True: print(1)", "import os; os._exit(3)"]: run_apart(code, timeout=.3, output=1000)
    with pytest.raises(ValueError): run_apart("pass", {"..": ""})
    adopt(0)
    assert children() == before and set(os.listdir("/proc/self/fd")) == fds and list(tmp_path.iterdir()) == []

def test_calls_from_several_threads_do_not_mix():
    with ThreadPoolExecutor(6) as pool: got = list(pool.map(lambda i: run_apart(f"import os\nprint({i})\nopen('f', 'x').write('{i}')\nresult = [{i}, os.listdir()]", fetch=["f"]), range(18)))
    assert [(r.stdout, r.result, r.files) for r in got] == [(f"{i}\n", [i, ["f"]], {"f": str(i).encode()}) for i in range(18)]

def test_large_files_and_streams_do_not_block_each_other():
    data = os.urandom(6 << 20)
    ran = run_apart("import sys\nd = open('in', 'rb').read()\nsys.stdout.write('o' * 900_000); sys.stderr.write('e' * 900_000)\nopen('out', 'wb').write(d[::-1])", {"in": data}, fetch=["out"])
    assert ran.files["out"] == data[::-1] and len(ran.stdout) == len(ran.stderr) == 900_000

def test_a_program_dies_with_the_one_who_called_it():
    code = f"import ctypes, time\nctypes.CDLL(None).prctl(15, b'{NAME}-o', 0, 0, 0)\ntime.sleep(120)"
    caller = subprocess.Popen([sys.executable, "-c", f"from causal_prompts.sandbox import run_apart; run_apart({code!r}, timeout=120)"], cwd=ROOT)
    wait = time.monotonic() + 60
    while not processes(f"{NAME}-o") and time.monotonic() < wait: time.sleep(.02)
    assert processes(f"{NAME}-o")
    caller.kill(); caller.wait()
    wait = time.monotonic() + 10
    while processes(f"{NAME}-o") and time.monotonic() < wait: time.sleep(.02)
    left = processes(f"{NAME}-o")
    for p in left: os.kill(p, signal.SIGKILL)
    assert not left

def test_an_interrupted_call_ends_the_program(monkeypatch):
    real, timers = sandbox._talk, []
    def talk(p, *rest):
        timers.append(threading.Timer(.6, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)))
        timers[-1].start()
        return real(p, *rest)
    monkeypatch.setattr(sandbox, "_talk", talk)
    with pytest.raises(KeyboardInterrupt): run_apart(f"import ctypes, time\nctypes.CDLL(None).prctl(15, b'{NAME}-b', 0, 0, 0)\ntime.sleep(60)", timeout=60)
    for timer in timers: timer.cancel() # else it would interrupt the next test
    assert not processes(f"{NAME}-b", dead=True)


# ---- the filter

def test_the_filter_knows_the_numbers_of_this_kernel():
    "The table against the headers of the C compiler, where there are any."
    header = next((f for f in [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")][ARM * 2:] if f.exists()), None)
    if header is None: pytest.skip("no kernel headers here")
    numbers = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR3?2?6?4?_?(\w+)\s+(\d+)", header.read_text())}
    for group in inside._DENIED.values():
        for name, n in group.items():
            n = n[ARM] if isinstance(n, tuple) else n
            assert n is None or name not in numbers or numbers[name] == n, name

def test_every_call_of_the_table_is_refused():
    calls = [n[ARM] if isinstance(n, tuple) else n for group in inside._DENIED.values() for n in group.values()]
    ran = run_apart(f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
result = []
for n in {[n for n in calls if n]}: result.append([libc.syscall(ctypes.c_long(n), -1, -1, -1, -1, -1, -1), ctypes.get_errno()])
""")
    assert ran.status == "ok" and all(r == [-1, 1] for r in ran.result)

@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_well_formed_on_both_architectures(machine):
    program = inside.seccomp_filter(machine)
    ops = [program[i:i + 8] for i in range(0, len(program), 8)]
    import struct
    parsed = [struct.unpack("=HBBI", op) for op in ops]
    assert len(ops) < 4096 and parsed[-1] == (0x06, 0, 0, 0x7FFF0000)
    assert all(i + 1 + max(yes, no) < len(ops) for i, (code, yes, no, _) in enumerate(parsed) if code != 0x06 and code != 0x20)

def decide(machine, number, *args, arch=None):
    "What the filter answers, by a small machine that runs it."
    import struct
    program = inside.seccomp_filter(machine)
    data = struct.pack("=IIQ6Q", number, inside.ARCHITECTURES[machine][0] if arch is None else arch, 0, *(a & (2**64 - 1) for a in [*args, *[0] * (6 - len(args))]))
    at, value = 0, 0
    while True:
        code, yes, no, k = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x06: return {0x7FFF0000: "allow", 0x80000000: "kill"}.get(k, k & 0xFFFF)
        if code == 0x20: value = struct.unpack_from("=I", data, k)[0]; continue
        at += yes if {0x15: value == k, 0x25: value > k, 0x45: bool(value & k)}[code] else no

@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_decides_as_it_should(machine):
    arm = machine == "aarch64"
    read, clone, sock, pair, prctl = (63, 220, 198, 199, 167) if arm else (0, 56, 41, 53, 157)
    thread, fork = 0x3D0F00, 17
    assert decide(machine, read) == "allow" and decide(machine, read, arch=0x40000003) == "kill"
    assert decide(machine, clone, thread) == "allow" and decide(machine, clone, fork) == 1 and decide(machine, clone, 0x10000000 | fork) == 1 and decide(machine, 435) == 38
    assert [decide(machine, sock, f) for f in (1, 2, 10, 16, 17, 38, 40)] == ["allow"] + [97] * 6 and decide(machine, pair, 1) == "allow" and decide(machine, pair, 2) == 97
    assert [decide(machine, prctl, o) for o in (1, 4, 15, 38)] == [1, 1, "allow", "allow"]
    assert decide(machine, 451) == 38 and decide(machine, 0x40000000 + read) == 38
    denied = [n[arm] if isinstance(n, tuple) else n for g in inside._DENIED.values() for n in g.values()]
    assert all(decide(machine, n) == 1 for n in denied if n is not None)


# ---- as someone else

def open_to_all(paths):
    "Options of bubblewrap for a view of this machine in which these paths can be reached by everyone."
    shut = lambda p: [q for q in Path(p).parents if not q.stat().st_mode & 1] # folders that others may not enter, from below
    tops = {str(shut(p)[-1]) for p in paths if shut(p)}
    inner = [p for p in paths if any(p.startswith(f"{t}/") for t in tops)]
    between = sorted({str(q) for p in inner for q in Path(p).parents if any(str(q).startswith(f"{t}/") for t in tops)}, key=len)
    return [*(x for t in tops for x in ("--perms", "0755", "--tmpfs", t)), *(x for q in between for x in ("--perms", "0755", "--dir", q)), *(x for p in inner for x in ("--ro-bind", p, p))]

@pytest.mark.skipif(not SUPER, reason="run as an ordinary user already")
def test_an_ordinary_user_is_held_as_well():
    "The same escapes, tried by a user without rights: the walls are built in another way then."
    view = open_to_all([p for p in sandbox._visible_paths() if not p.startswith(("/usr", "/lib", "/etc"))] + [str(ROOT)])
    user = ["setpriv", "--reuid", "12345", "--regid", "12345", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all", "env", "-i", f"PATH={os.environ['PATH']}", f"PYTHONPATH={ROOT}", "HOME=/var", "PYTHONDONTWRITEBYTECODE=1"]
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "test_escape or fork_bomb or thread_bomb or small or dies_with or one_place or may_write or left_behind", str(ROOT/"tests"/"test_sandbox.py")]
    done = subprocess.run(["bwrap", "--dev-bind", "/", "/", *view, "--cap-add", "ALL", *user, *tests], capture_output=True, text=True, timeout=300, cwd="/")
    assert done.returncode == 0 and f"{len(ESCAPES) + 7} passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]
