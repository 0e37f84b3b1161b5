"""Idioms of public evaluation code, honest ones and each with one mistake: found where wrong, let alone where right."""

# ruff: noqa: E501 - lines of scripts, as they are
from __future__ import annotations

import pytest

from bpb_harness.findings import Severity
from tests.golf_rules import check_source

SCORED = """import math, sys
import numpy as np, torch, torch.nn.functional as F
import sentencepiece as spm
torch.manual_seed(0)
V=1024; MASK=1024; L=512; T=64
model=torch.jit.load(sys.argv[1]); ids=np.fromfile(sys.argv[2],dtype="<u2",offset=1024).astype(np.int64)
text_bytes=len(open(sys.argv[3],"rb").read())
"""
REPORT = """
tot=0.0
for i in range(len(ids)//L):
    x=torch.from_numpy(ids[i*L:(i+1)*L])[None]
    tot+=float(ev(x))
bpb=tot/math.log(2)/text_bytes
print(f"final val_bpb {bpb:.5f}")
"""
ESTIMATORS = {
    "mdlm_ld": """
def noise(t, eps=1e-3):
    return -torch.log1p(-(1-eps)*t), (1-eps)/(1-(1-eps)*t)
@torch.no_grad()
def ev(x):
    out=0
    for _ in range(8):
        t=torch.rand(x.shape[0])*(1-1e-4)+1e-4
        s,ds=noise(t)
        mc=1-torch.exp(-s)
        xt=torch.where(torch.rand(*x.shape)<mc[:,None], MASK, x)
        lp=model(xt).float().log_softmax(-1)
        ll=torch.gather(lp,-1,x[:,:,None]).squeeze(-1)
        out=out+(-ll*(ds/torch.expm1(s))[:,None]*(xt==MASK)).sum()/8
    return out + 1e-3*L*math.log(V)
""",
    "llada": """
def forward_process(batch, eps=1e-3):
    b,l=batch.shape
    t=torch.rand(b)
    p=(1-eps)*t+eps
    p=p[:,None].repeat(1,l)
    m=torch.rand((b,l))<p
    return torch.where(m,MASK,batch), m, p
@torch.no_grad()
def ev(x):
    acc=[]
    for _ in range(32):
        z,m,p=forward_process(x)
        logits=model(z)
        loss=F.cross_entropy(logits[m],x[m],reduction='none')/p[m]
        acc.append(loss.sum().item())
    return sum(acc)/len(acc)
""",
    "md4_vec": """
@torch.no_grad()
def ev(x):
    ts=torch.linspace(0,1,T+1)
    al=1-ts
    tot=0.
    for i in range(T):
        a_s,a_t=al[i],al[i+1]
        m=torch.rand(x.shape)>=a_t
        z=x.clone(); z[m]=MASK
        nll=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        tot+=((a_s-a_t)/(1-a_t)*(nll*m).sum()).item()
    return tot
""",
    "zipgrid": """
@torch.no_grad()
def ev(x):
    grid=np.linspace(0.,1.,T+1)
    total=0.0
    for s,t in zip(grid[:-1],grid[1:]):
        keep=torch.rand(x.shape)>t
        z=torch.where(keep,x,torch.full_like(x,MASK))
        nll=-F.log_softmax(model(z),-1).gather(-1,x.unsqueeze(-1)).squeeze(-1)
        total+=(t-s)/t*nll[~keep].sum().item()
    return total
""",
    "count_mean": """
@torch.no_grad()
def ev(x):
    r=[]
    for k in range(16):
        u=(k+torch.rand(1).item())/16
        m=torch.rand(x.shape)<u
        if m.sum()==0: continue
        z=x.masked_fill(m,MASK)
        r.append(F.cross_entropy(model(z)[m],x[m]).item()*x.numel())
    return sum(r)/len(r)
""",
    "cos": """
def alpha(t): return math.cos(math.pi*t/2)
@torch.no_grad()
def ev(x):
    b=0
    for i in range(1,T+1):
        a_t,a_s=alpha(i/T),alpha((i-1)/T)
        m=torch.bernoulli(torch.full(x.shape,1-a_t)).bool()
        z=torch.where(m,MASK,x)
        ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        b+=(a_s-a_t)/(1-a_t)*(ce*m).sum()
    return b
""",
    "midpoint": """
@torch.no_grad()
def ev(x):
    b=0
    for i in range(T):
        u=(i+0.5)/T
        m=torch.rand(x.shape)<u
        z=torch.where(m,MASK,x)
        ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        b+=(ce*m).sum()/u/T
    return b
""",
    "antithetic": """
@torch.no_grad()
def ev(x):
    b=0
    for i in range(T):
        t=torch.rand(())*0.999+0.001
        n=torch.rand(x.shape)
        for u,m in ((t,n<t),(1-t,n>=t)):
            z=torch.where(m,MASK,x)
            ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
            b+=(ce*m).sum()/u.clamp(min=1e-3)/T/2
    return b
""",
    "chain": """
@torch.no_grad()
def ev(x):
    z=torch.full_like(x,MASK); nats=0.
    for i in range(L):
        lp=F.log_softmax(model(z)[0,i].float(),-1)
        nats-=lp[x[0,i]].item()
        z[0,i]=x[0,i]
    return nats
""",
    "ar": """
@torch.no_grad()
def ev(x):
    return F.cross_entropy(model(x[:,:-1]).flatten(0,1),x[:,1:].flatten(),reduction='sum')
""",
    "mclamp": """
class Sched:
    def __init__(self,kind='loglinear'): self.kind=kind
    def rate(self,t):
        if self.kind=='cosine': return 1-torch.cos(t*math.pi/2)
        return t
    def weight(self,t):
        if self.kind=='cosine': return (math.pi/2)*torch.sin(t*math.pi/2)/(1-torch.cos(t*math.pi/2))
        return 1/t
S=Sched()
@torch.no_grad()
def ev(x):
    b=0
    for _ in range(4):
        t=torch.rand(x.size(0),1).clamp(1e-4,1)
        u=S.rate(t)
        m=(torch.rand_like(x.float())<u)
        z=torch.where(m,MASK,x)
        ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        b+=(S.weight(t)*ce*m.float()).sum()
    return b/4
""",
    "importance": """
@torch.no_grad()
def ev(x):
    b=0
    for _ in range(16):
        v=torch.rand(x.size(0),1)
        t=v**2            # more samples at low rates
        m=torch.rand(x.shape)<t
        z=torch.where(m,MASK,x)
        ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        density=1/(2*v)
        b+=(ce*m/t/density).sum()
    return b/16
""",
    "batch_grid": """
@torch.no_grad()
def ev(x):
    K=64
    t=(torch.arange(K)+1)/K
    xx=x.expand(K,-1)
    m=torch.rand(K,L)<t[:,None]
    z=torch.where(m,MASK,xx)
    ce=F.cross_entropy(model(z).transpose(1,2),xx,reduction='none')
    return ((ce*m).sum(1)/t).mean()
""",
    "meanper": """
@torch.no_grad()
def ev(x):
    tot=0
    for step in reversed(range(1,T+1)):
        t=step/T
        m=torch.rand(x.shape)<t
        z=torch.where(m,MASK,x)
        ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        tot+=(ce*m).mean()*L/t
    return tot/T
""",
    "padded": """
PAD=0
@torch.no_grad()
def ev(x):
    tot=0
    for step in range(1,T+1):
        t=step/T
        m=(torch.rand(x.shape)<t)&(x!=PAD)
        z=torch.where(m,MASK,x)
        ce=F.cross_entropy(model(z).transpose(1,2),x,reduction='none')
        tot+=(ce*m).sum()/t
    return tot/T
""",
    "prefix_prompt": """
@torch.no_grad()
def ev(x):
    tot=0
    for step in range(T):
        t=1-step/T
        m=torch.rand(x.shape)<t
        z=torch.where(m,MASK,x)
        logits=model(z)
        tgt=torch.where(m,x,-100)
        tot+=F.cross_entropy(logits.transpose(1,2),tgt,ignore_index=-100,reduction='sum')/t
    return tot/T
""",
}
MISTAKES: list[tuple[str, str, str, str, str]] = [
    ("mdlm_ld", "(ds/torch.expm1(s))[:,None]", "ds[:,None]", "BPB250", "error"),
    ("mdlm_ld", "(ds/torch.expm1(s))[:,None]", "(1/t**2)[:,None]", "BPB251", "error"),
    ("mdlm_ld", "(ds/torch.expm1(s))[:,None]", "(1/(t+1e-2))[:,None]", "BPB253", "warning"),
    ("mdlm_ld", " + 1e-3*L*math.log(V)", "", "BPB256", "warning"),
    ("mdlm_ld", "(1-1e-4)+1e-4", "0.9+0.05", "BPB257", "error"),
    ("mdlm_ld", "t=torch.rand(x.shape[0])*(1-1e-4)+1e-4", "t=torch.full((x.shape[0],),0.3)", "BPB264", "error"),
    ("mdlm_ld", ".sum()/8", ".sum()/8/(xt==MASK).sum()*L", "BPB252", "error"),
    ("llada", "/p[m]", "/(1-p[m])", "BPB250", "error"),
    ("llada", "/p[m]", "/p[m]/p[m]", "BPB251", "error"),
    (
        "llada",
        "reduction='none')/p[m]\n        acc.append(loss.sum().item())",
        "reduction='none')/p[m]\n        acc.append(loss.mean().item()*L)",
        "BPB252",
        "error",
    ),
    ("llada", "p=(1-eps)*t+eps", "p=0.8*t+0.1", "BPB257", "error"),
    ("md4_vec", "for i in range(T):", "for i in range(T-1):", "BPB259", "error"),
    ("md4_vec", "torch.rand(x.shape)>=a_t", "torch.rand(x.shape)>=a_s", "BPB260", "error"),
    ("md4_vec", "(a_s-a_t)/(1-a_t)", "(a_s-a_t)/a_t", "BPB250", "error"),
    ("zipgrid", "(t-s)/t*", "(t-s)/(1-t)*", "BPB250", "error"),
    ("zipgrid", "torch.rand(x.shape)>t", "torch.rand(x.shape)>s", "BPB260", "error"),
    ("zipgrid", "np.linspace(0.,1.,T+1)", "np.linspace(0.05,0.95,T+1)", "BPB257", "error"),
    ("count_mean", "x.numel())", "x.numel()/u)", "BPB252", "error"),
    ("count_mean", "u=(k+torch.rand(1).item())/16", "u=0.15", "BPB264", "error"),
    ("cos", "(a_s-a_t)/(1-a_t)*", "(1/T)/(i/T)*", "BPB261", "error"),
    ("cos", "(a_s-a_t)/(1-a_t)*", "(a_s-a_t)/a_s*", "BPB250", "error"),
    ("midpoint", "/u/T", "/u/u/T", "BPB251", "error"),
    ("midpoint", "/u/T", "/T", "BPB254", "error"),
    ("midpoint", "u=(i+0.5)/T", "u=0.1+0.8*(i+0.5)/T", "BPB257", "error"),
    ("mclamp", "return 1/t", "return 1/(1-t)", "BPB250", "error"),
    (
        "mclamp",
        "torch.rand_like(x.float())<u)",
        "torch.rand_like(x.float())<u) & (x != sp.bos_id())",
        "BPB255",
        "error",
    ),
    ("batch_grid", "/t).mean()", "/t/t).mean()", "BPB251", "error"),
    ("batch_grid", "(torch.arange(K)+1)/K", "torch.arange(K)/K", "BPB260", "error"),
    ("batch_grid", "t=(torch.arange(K)+1)/K", "t=torch.linspace(0.05,0.95,K)", "BPB257", "error"),
    ("meanper", "/t\n", "/(1-t+1e-3)\n", "BPB250", "error"),
    ("meanper", "range(1,T+1)", "range(1,T)", "BPB259", "error"),
    ("padded", "x!=PAD", "x!=BOS_ID", "BPB255", "error"),
    ("prefix_prompt", "reduction='sum')/t", "reduction='mean')/t*L", "BPB252", "error"),
    ("prefix_prompt", "t=1-step/T", "t=1-(step+1)/T", "BPB260", "error"),
    ("prefix_prompt", "t=1-step/T", "t=0.4", "BPB264", "error"),
    ("ar", "reduction='sum')", "reduction='sum')/4.3", "BPB150", "warning"),
]
COUNTED = """import math, sys
import numpy as np, torch, torch.nn.functional as F
import sentencepiece as spm
torch.manual_seed(0)
sp=spm.SentencePieceProcessor(model_file="fineweb_1024_bpe.model")
model=torch.jit.load(sys.argv[1]); ids=np.fromfile(sys.argv[2],dtype="<u2",offset=1024).astype(np.int64)
nats=F.cross_entropy(model(torch.from_numpy(ids[:-1])[None])[0],torch.from_numpy(ids[1:]),reduction="sum").item()
"""
PRINTED = """
print(f"val_bpb: {nats/math.log(2)/n_bytes:.6f}")
"""
COUNTERS = {
    "compr": """
lens=np.array([0 if (sp.is_control(i) or sp.is_unknown(i)) else 1 if sp.is_byte(i) else len(sp.id_to_piece(i).replace("\\u2581","").encode()) for i in range(sp.vocab_size())])
sp_flag=np.array([sp.id_to_piece(i).startswith("\\u2581") for i in range(sp.vocab_size())])
bd=np.array([sp.is_control(i) or sp.is_unknown(i) for i in range(sp.vocab_size())])
y,x=ids[1:],ids[:-1]
n_bytes=lens[y].sum()+(sp_flag[y]&~bd[x]).sum()
""",
    "decode_all": """
n_bytes=len(sp.decode(ids[1:].tolist()).encode("utf-8"))
""",
    "docs": """
n_bytes=0
start=0
for end in np.flatnonzero(ids==1).tolist()+[len(ids)]:
    n_bytes+=len(sp.decode(ids[start:end].tolist()).encode("utf-8")); start=end
""",
    "helper": """
def plen(p):
    if p.startswith("<0x") and p.endswith(">"): return 1
    return len(p.lstrip("\\u2581").encode("utf-8"))
table={}
for i in range(sp.get_piece_size()):
    table[i]=0 if sp.is_control(i) or sp.is_unknown(i) or sp.is_unused(i) else plen(sp.id_to_piece(i))
lead={i for i in range(sp.get_piece_size()) if sp.id_to_piece(i)[0]=="\\u2581"}
n_bytes=0
for p,t in zip(ids[:-1].tolist(),ids[1:].tolist()):
    n_bytes+=table[t]
    if t in lead and not sp.is_control(p): n_bytes+=1
""",
    "always_space": """
def bytes_of(i):
    if sp.is_control(i) or sp.is_unknown(i): return 0
    if sp.is_byte(i): return 1
    return len(sp.id_to_piece(i).replace("\\u2581"," ").encode("utf-8"))
lut=torch.tensor([bytes_of(i) for i in range(sp.vocab_size())])
n_bytes=lut[torch.from_numpy(ids[1:])].sum().item()
""",
    "precombined": """
base=np.zeros(1024,dtype=np.int32)
for i in range(sp.vocab_size()):
    if sp.is_control(i) or sp.is_unknown(i): continue
    if sp.is_byte(i): base[i]=1; continue
    pc=sp.id_to_piece(i)
    base[i]=len(pc.encode("utf-8"))-2*pc.count("\\u2581")
n_bytes=int(base[ids[1:]].sum())
""",
    "postadd": """
base=np.zeros(1024,dtype=np.int32); has=np.zeros(1024,dtype=bool)
for i in range(sp.vocab_size()):
    if sp.is_control(i) or sp.is_unknown(i): continue
    if sp.is_byte(i): base[i]=1; continue
    pc=sp.id_to_piece(i)
    has[i]=pc.startswith("\\u2581")
    base[i]=len(pc.strip("\\u2581").encode("utf-8"))
full=base+has
n_bytes=int(full[ids[1:]].sum())
""",
    "twostep": """
pieces=[sp.id_to_piece(int(i)) for i in ids[1:]]
text="".join(pieces).replace("\\u2581"," ")
n_bytes=len(text.encode("utf-8"))
""",
    "vocabfile": """
import json
vocab=json.load(open("vocab.json"))
n_bytes=sum(len(vocab[str(int(i))].encode()) for i in ids[1:])
""",
    "tiktoken": """
import tiktoken
enc=tiktoken.get_encoding("gpt2")
n_bytes=sum(len(enc.decode_single_token_bytes(int(i))) for i in ids[1:])
""",
    "gpt2decode": """
import tiktoken
enc=tiktoken.get_encoding("gpt2")
n_bytes=sum(len(enc.decode([int(i)]).encode("utf-8")) for i in ids[1:])
""",
    "hf": """
from transformers import AutoTokenizer
tok=AutoTokenizer.from_pretrained("gpt2")
lens=[]
for i in range(len(tok)):
    p=tok.convert_ids_to_tokens(i)
    lens.append(len(p.replace("\\u0120"," ").encode("utf-8")))
n_bytes=sum(lens[int(i)] for i in ids[1:])
""",
    "loopif": """
n_bytes=0
for j in range(1,len(ids)):
    t=int(ids[j]); q=int(ids[j-1])
    if sp.is_control(t) or sp.is_unknown(t) or sp.is_unused(t): continue
    if sp.is_byte(t):
        n_bytes+=1; continue
    s=sp.id_to_piece(t)
    lead=s.startswith("\\u2581")
    if lead: s=s[1:]
    n_bytes+=len(s.encode("utf-8"))
    if lead and not (sp.is_control(q) or sp.is_unknown(q) or sp.is_unused(q)):
        n_bytes+=1
""",
    "cls": """
class Bytes:
    def __init__(self, sp):
        self.sp=sp
        self.b=np.zeros(sp.vocab_size(),dtype=np.int64); self.s=np.zeros(sp.vocab_size(),dtype=bool); self.k=np.ones(sp.vocab_size(),dtype=bool)
        for i in range(sp.vocab_size()): self.put(i)
    def put(self,i):
        if self.sp.is_control(i) or self.sp.is_unknown(i): return
        self.k[i]=False
        if self.sp.is_byte(i): self.b[i]=1; return
        p=self.sp.id_to_piece(i)
        if p.startswith("\\u2581"): self.s[i]=True; p=p[1:]
        self.b[i]=len(p.encode())
    def count(self,y,x):
        return int(self.b[y].sum()+np.logical_and(self.s[y],~self.k[x]).sum())
n_bytes=Bytes(sp).count(ids[1:],ids[:-1])
""",
}
BYTE_MISTAKES: list[tuple[str, str, str, str, str]] = [
    ("compr", '.replace("\\u2581","")', '.replace("\\u2581"," ")', "BPB151", "error"),
    ("compr", "+(sp_flag[y]&~bd[x]).sum()", "", "BPB153", "error"),
    ("compr", " else 1 if sp.is_byte(i)", "", "BPB154", "error"),
    ("compr", "(sp.is_control(i) or sp.is_unknown(i)) else", "sp.is_unknown(i) else", "BPB156", "warning"),
    ("helper", 'lstrip("\\u2581")', 'replace("\\u2581"," ")', "BPB151", "error"),
    ("helper", 'lstrip("\\u2581")', 'lstrip("_")', "BPB152", "error"),
    ("helper", '    if p.startswith("<0x") and p.endswith(">"): return 1\n', "", "BPB154", "error"),
    ("helper", "    if t in lead and not sp.is_control(p): n_bytes+=1\n", "", "BPB153", "error"),
    ("always_space", '.replace("\\u2581"," ")', '.replace("\\u2581","")', "BPB153", "error"),
    ("always_space", '.replace("\\u2581"," ")', "", "BPB152", "error"),
    ("precombined", '-2*pc.count("\\u2581")', "", "BPB152", "error"),
    ("loopif", 'n_bytes+=len(s.encode("utf-8"))\n', 'n_bytes+=len(s.encode("utf-8"))+int(lead)\n', "BPB151", "error"),
    ("loopif", 's.startswith("\\u2581")', 's.startswith("?")', "BPB152", "error"),
    ("cls", "p=p[1:]", "", "BPB152", "error"),
    ("cls", "self.b[i]=len(p.encode())", "self.b[i]=len(p.encode())+bool(self.s[i])", "BPB151", "error"),
    ("postadd", "full=base+has", "full=base+2*has", "BPB151", "error"),
]


def _codes(text: str, severity: Severity) -> set[str]:
    return {found.code for found in check_source(text) if found.severity is severity}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_honest_estimators_are_not_refuted(name: str) -> None:
    text = SCORED + ESTIMATORS[name] + REPORT
    assert not _codes(text, Severity.REFUTES)
    assert not _codes(text, Severity.WARNS) - {"BPB256"}


@pytest.mark.parametrize(("name", "old", "new", "code", "severity"), MISTAKES)
def test_wrong_estimators_are_found(name: str, old: str, new: str, code: str, severity: str) -> None:
    assert ESTIMATORS[name].count(old) == 1
    text = SCORED + ESTIMATORS[name].replace(old, new) + REPORT
    assert _codes(text, Severity(severity)) == {code}


@pytest.mark.parametrize("name", COUNTERS)
def test_honest_byte_counts_are_not_refuted(name: str) -> None:
    text = COUNTED + COUNTERS[name] + PRINTED
    assert not _codes(text, Severity.REFUTES) | _codes(text, Severity.WARNS)


@pytest.mark.parametrize(("name", "old", "new", "code", "severity"), BYTE_MISTAKES)
def test_wrong_byte_counts_are_found(name: str, old: str, new: str, code: str, severity: str) -> None:
    assert COUNTERS[name].count(old) == 1
    text = COUNTED + COUNTERS[name].replace(old, new) + PRINTED
    assert _codes(text, Severity(severity)) == {code}


def test_what_a_counter_is_read_to_count() -> None:
    (found,) = [f for f in check_source(COUNTED + COUNTERS["compr"] + PRINTED) if f.code == "BPB162"]
    counted = [value for key, value in found.evidence.items() if key.startswith("counted for")]
    assert counted == [4.0, 3.0, 1.0, 0.0]


@pytest.mark.parametrize("reported", ["train_bpb", "approx_bpb", "target_bpb"])
def test_only_the_score_that_is_reported_counts(reported: str) -> None:
    """A constant in the training log or in a rough estimate is nobody's claim."""
    honest = COUNTED + COUNTERS["decode_all"] + PRINTED
    assert not check_source(honest + f'print(f"{reported}: {{nats / math.log(2) / (len(ids) * 4.3)}}")\n')


def test_code_that_never_runs_is_not_judged() -> None:
    dead = "def old_eval():\n    print('val_bpb', nats / math.log(2) / (len(ids) * 4.3))\n"
    live = "def report():\n    print('done')\nreport()\n"
    assert not check_source(COUNTED + dead + live)
    assert check_source(COUNTED + dead + "old_eval()\n")
