"""A training run: the state that it takes steps with, saves and continues from.

Everything random in a step is a function of (seed, step), and the state is saved whole beside the checkpoint
(``ckpt.pt.train``): a run that was stopped and resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bpb_harness.byte_count import load_tokenizer
from bpb_harness.checkpoints import save_checkpoint
from bpb_harness.checkpoints.record import digest_of
from bpb_harness.denoiser import require_finite
from bpb_harness.distributed import Processes, pick_device
from bpb_harness.errors import CheckpointError, UsageError
from bpb_harness.estimators.mc import ContinuousBound
from bpb_harness.evaluation.runner import fastest_attention
from bpb_harness.kernels.block_attention import sparse_sight
from bpb_harness.kernels.loading import load_kernels
from bpb_harness.kernels.training import give_up_specialising
from bpb_harness.result import BpbResult
from bpb_harness.schedule import NoiseLevel, parse_schedule
from bpb_harness.text.corpus import find_shards, load_shards
from bpb_harness.text.separators import find_separators, own_folder
from bpb_harness.units import counted, nats_to_bits
from bpb_harness.whole_file import write_whole
from reference import training_log
from reference.averaging import AveragedGradients
from reference.cuda_graph import CapturedGradient, forget_gradients
from reference.curriculum import Stage, make_stages, stage_at
from reference.data import TokenShards, dropout_seed, map_shards, require_writer, step_seed
from reference.model import ReferenceConfig, ReferenceTransformer, initial_network
from reference.objective import (
    HeadNll,
    block_objective,
    causal_objective,
    draw_block_masks,
    draw_masks,
    head_nll,
    mdlm_objective,
    with_causal_rows,
)
from reference.optimizer import MovingAverage, learning_rate_factor, make_optimizers
from reference.settings import EXPORT_DTYPES, LATER_SETTINGS, Training
from reference.validation import Validation


class Run:
    """Network, optimizers and progress of one training run, in one process of those that train together."""

    def __init__(self, training: Training, processes: Processes = Processes()) -> None:  # noqa: B008
        self.training, self.processes = training, processes
        self.device = pick_device(training.device)
        if self.device.type == "cuda":
            self.device = torch.device("cuda", self.device.index or 0)
            load_kernels(self.device)
            torch.cuda.set_device(self.device)  # graphs are captured, and gradients averaged, on the current device
        # 1. What is trained, and on what
        tokenizer = load_tokenizer(training.tokenizer)
        self.tokenizer = find_separators(tokenizer, own_folder(training.tokenizer)).apply(tokenizer)
        self.config = _config_of(training, self.tokenizer.vocab_size)
        self.bound = ContinuousBound(parse_schedule(training.schedule), num_samples=1)
        self._stages = make_stages(training, bound=self.bound, num_processes=processes.count)
        self._read_data(training)
        # 2. The network, and what moves it
        self.network: ReferenceTransformer = initial_network(self.config, seed=training.seed).to(self.device)
        self.network.set_dropout(training.dropout)
        self.optimizers = make_optimizers(
            self.network, lr=training.lr, muon_lr=training.muon_lr, weight_decay=training.weight_decay,
            normalised=training.normalised_updates,
        )  # fmt: skip
        self.average = MovingAverage(self.network, training.ema)
        self._parameters = list(self.network.parameters())
        self._gradients = AveragedGradients(self._parameters, processes)
        self._graphs_average = False
        self._head_nll: HeadNll = head_nll
        # 3. Where the run stands
        self.step = 0
        self.seconds = 0.0  # spent before this process
        self.seconds_spent = 0.0  # when the last step was done
        self.interrupted = False
        self.saved_digest: str | None = None  # of the checkpoint, in the process that writes it
        self._history: list[float] = []
        self._pending: list[Tensor] = []  # objectives that are still on the device

    def _read_data(self, training: Training) -> None:
        """Training and validation shards, both written by the tokenizer."""
        longest, vocab_size = max(stage.window_length for stage in self._stages), self.tokenizer.vocab_size
        self.shards = TokenShards(training.data, window_length=longest, vocab_size=vocab_size)
        if training.check_tokenizer:
            require_writer(load_shards(find_shards(training.data)[:1], vocab_size=vocab_size), self.tokenizer)
        self._validation = None
        self._validation_shards = map_shards(training.val_data) if training.val_data else []
        if training.val_data:
            self._validation = Validation(
                training.val_data, self.tokenizer, num_windows=training.val_windows, context=training.context,
                device=self.device.type, seed=training.seed,
            )  # fmt: skip
            if training.check_tokenizer:
                require_writer(self._validation.corpus, self.tokenizer)

    @property
    def num_parameters(self) -> int:
        """Of the network."""
        return sum(parameter.numel() for parameter in self._parameters)

    @property
    def description(self) -> str:
        """What is trained on what, in a line."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        count = f"{self.processes.count} x " if self.processes.count > 1 else ""
        windows = ", later ".join(
            f"{counted(stage.num_windows, 'window')} of {stage.context}" for stage in self._stages
        )
        steps = f"{windows} a step, on {count}{name}, torch {torch.__version__}"
        return training_log.description(self.config.objective, self.num_parameters, self.shards.num_tokens, steps)

    @property
    def shards_in_both(self) -> list[str]:
        """Validation shards that hold the tokens of a training shard."""
        learnt = {shard.fingerprint for shard in self.shards.files}
        return [shard.path.name for shard in self._validation_shards if shard.fingerprint in learnt]

    def context_at(self, progress: float) -> int:
        """Tokens of a window in a step that is taken at ``progress`` in [0, 1]."""
        return stage_at(self._stages, progress).context

    @property
    def history(self) -> list[float]:
        """Objective of every step, in nats per token.

        Raises:
            NumericsError: if one is not finite.
        """
        if self._pending:
            nats = torch.stack(self._pending)
            self._pending.clear()
            self._history += require_finite(nats, what=f"objective before step {self.step}").tolist()
        return self._history

    def recent_bits(self, num_steps: int = 50) -> float:
        """Mean objective of the last steps, in bits per token; NaN before the first."""
        recent = self.history[-num_steps:]
        return nats_to_bits(sum(recent) / len(recent)) if recent else float("nan")

    def prepare(self) -> str | None:
        """Compile the network, capture its CUDA graphs, and rehearse a step that changes nothing.

        What is slow once is done then.

        Returns:
            A line on why the network is not compiled or captured after all, or None.

        Raises:
            UsageError: if the batch does not fit into the device's memory.
        """
        on_gpu = self.device.type == "cuda"
        remarks: list[str | None] = []
        wanted = on_gpu if self.training.compile is None else self.training.compile
        try:
            if wanted:
                failure = self._try_to_compile()
                remark = failure
                if failure and on_gpu and give_up_specialising():
                    torch._dynamo.reset()
                    remark = failure.replace("not compiled", "compiled without kernels of our own", 1)
                    failure = self._try_to_compile()
                remarks.append(failure or remark)
                # All processes go on alike, or they would wait for different things.
                if on_gpu and not any(self.processes.gather(failure)):
                    remarks.append(self._try_to_capture())
            self._rehearse()
        except torch.OutOfMemoryError:
            raise self._too_large() from None
        return "; ".join(filter(None, remarks)) or None

    def _too_large(self) -> UsageError:
        seen = f"{self.training.batch_tokens}, which does not fit into the device's memory"
        return UsageError("--batch-tokens", seen=seen, hint="pass fewer, or train on more devices")

    def _try_to_compile(self) -> str | None:
        try:
            self._compile()
            self._rehearse()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler may fail in any way
            self._compile(undo=True)
            forget_gradients(self._parameters)
            reason = next(iter(str(error).splitlines()), "")
            return f"not compiled, and so slower: {type(error).__name__}: {reason:.200}"
        return None

    def _compile(self, *, undo: bool = False) -> None:
        """Compile a block, once for all, and what comes before and after the blocks."""
        self._head_nll = head_nll if undo else torch.compile(head_nll, dynamic=False)
        for stage in self._stages:
            is_sparse = self.training.block_size is not None and not stage.is_causal and self.device.type == "cuda"
            stage.sight = None
            if is_sparse and not undo:
                stage.sight = sparse_sight(stage.context, self.training.block_size or 1, self.device)
        for block in self.network.blocks:
            if undo:
                block._compiled_call_impl = None
            else:
                block.compile(dynamic=False)

    def _try_to_capture(self) -> str | None:
        """Capture the gradients, and their means over processes where every process can; those are overlapped then."""
        if self.processes.count > 1:
            self.processes.average([torch.zeros(1, device=self.device)])  # sets up what cannot be captured
            self._graphs_average = not any(self.processes.gather(self._capture(self._gradients.averaged)))
            if self._graphs_average:
                return None
            self.forget_graphs()
        failures = [failure for failure in self.processes.gather(self._capture(nullcontext)) if failure]
        if not failures:
            return None
        self.forget_graphs()
        return f"kernels are launched one by one, which may be slower: {failures[0]}"

    def _capture(self, around: Callable[[], AbstractContextManager[object]]) -> str | None:
        """Why it failed, or None."""
        last: CapturedGradient | None = None
        try:
            for stage in self._stages:
                objective = partial(self.objective_nats, stage)
                last = CapturedGradient(objective, self._draw(stage), self._parameters, pool_of=last, around=around)
                stage.graph = last
            return None
        except Exception as error:  # not every kernel can be captured, and a graph keeps its memory for itself
            return f"{type(error).__name__}: {next(iter(str(error).splitlines()), ''):.200}"

    def forget_graphs(self) -> None:
        """Let go of what was captured: a group of processes cannot be left while a graph holds a part of it."""
        if all(stage.graph is None for stage in self._stages) and self.device.type != "cuda":
            return
        for stage in self._stages:
            stage.graph = None
        self._graphs_average = False
        forget_gradients(self._parameters)
        torch.cuda.synchronize(self.device)
        torch.cuda.empty_cache()

    def _rehearse(self) -> None:
        for stage in self._stages:
            self._take_gradient(stage)
        forget_gradients(self._parameters)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def _draw(self, stage: Stage) -> tuple[Tensor, ...]:
        """This process's share of the step's batch: windows, and for masked diffusion masks and noise levels."""
        training, share = self.training, self.processes.share_rows
        batch = self.shards.batch(
            seed=training.seed, step=self.step, num_windows=stage.num_windows, window_length=stage.window_length
        )
        if self.device.type == "cuda":
            batch = batch.pin_memory()  # or the copy would wait for the device
        x0 = share(batch.to(self.device, non_blocking=True))
        if stage.is_causal:
            return (x0,)
        generator = torch.Generator(self.device).manual_seed(step_seed(training.seed, self.step))
        law = training.mask_rates
        noise: tuple[Tensor, ...] = ()
        if size := training.block_size:
            masked, weight = draw_block_masks(batch.shape, size, self.bound, generator, self.device, law=law)
        else:
            shape = stage.num_masked, stage.context
            masked, level, weight = draw_masks(shape, self.bound, generator, self.device, law=law)
            noise = level.t, level.alpha_t, level.dalpha_t
        # A bell is what is minimised; where low rates are drawn more often, the gradient stays the bound's.
        weights = torch.stack((weight, torch.ones_like(weight) if law == "bell" else weight), dim=-1).float()
        return x0, *(share(each) for each in (masked, *noise, weights))

    def objective_nats(self, stage: Stage, x0: Tensor, *noise: Tensor) -> Tensor:
        """The objective of what :meth:`_draw` gave, nats per token."""
        on_gpu = self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=on_gpu), fastest_attention(self.device):
            if stage.is_causal:
                return causal_objective(self.network, x0, head_nll=self._head_nll)
            masked, *level, weights = noise
            row_weights = weights.reshape(-1, 2).t()
            if self.training.block_size:
                return block_objective(
                    self.network, x0, masked, self.bound, causal_weight=self.training.causal_weight,
                    capacity=stage.capacity, head_nll=self._head_nll, row_weights=row_weights, sight=stage.sight,
                )  # fmt: skip
            nats = mdlm_objective(
                self.network, x0[: len(masked)], masked, NoiseLevel(*level), self.bound,
                capacity=stage.capacity, head_nll=self._head_nll, row_weights=row_weights,
            )  # fmt: skip
            if not self.training.causal_rows:
                return nats
            rest = x0[len(masked) :]
            return with_causal_rows(self.network, nats, rest, self.training.causal_rows, head_nll=self._head_nll)

    def _take_gradient(self, stage: Stage, around: AbstractContextManager[object] = nullcontext()) -> Tensor:  # noqa: B008
        """The objective of the step's batch, with its gradients in the parameters."""
        inputs = self._draw(stage)
        if self.training.dropout:
            torch.manual_seed(dropout_seed(self.training.seed, self.step, self.processes.rank))
        if stage.graph is not None:
            return stage.graph(inputs)
        forget_gradients(self._parameters)
        nats = self.objective_nats(stage, *inputs)
        with around:
            torch.autograd.backward(nats)
        return nats.detach()

    def take_step(self, progress: float) -> None:
        """One step of every optimizer; ``progress`` in [0, 1] sets the learning rate.

        Raises:
            UsageError: if it does not fit into the device's memory.
        """
        try:
            self._take_step(progress)
        except torch.OutOfMemoryError:
            raise self._too_large() from None

    def _take_step(self, progress: float) -> None:
        stage = stage_at(self._stages, progress)
        is_captured = stage.graph is not None
        nats = self._take_gradient(stage, nullcontext() if is_captured else self._gradients.averaged())
        after = self._parameters if is_captured and not self._graphs_average else []
        self.processes.average([nats, *(p.grad for p in after if p.grad is not None)])
        if self.training.clip:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.training.clip)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * learning_rate_factor(progress)
            optimizer.step()
        forget_gradients(self._parameters)
        self.step += 1
        self.average.update(self.step)
        self._pending.append(nats)

    @property
    def weights(self) -> dict[str, Tensor]:
        """What is scored and shipped: the moving average."""
        return self.average.state_dict()

    def save(self, seconds: float) -> None:
        """Write the state of the run, then the checkpoint; each in one step, and by one process."""
        history = self.history
        if self.processes.is_first:
            self._write(seconds, history)
        self.processes.wait()

    def _write(self, seconds: float, history: list[float]) -> None:
        state = {
            "identity": self.training.identity(),
            "data": self._data_identity,
            "step": self.step,
            "seconds": seconds,
            "history": history,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        self.training.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.training.state_path, lambda file: torch.save(state, file))
        dtype = EXPORT_DTYPES[self.training.export_dtype]
        save_checkpoint(
            self.training.out,
            tensors={name: tensor.to("cpu", dtype) for name, tensor in self.weights.items()},
            adapter="reference",
            config=self.config.to_dict(),
            schedule=str(self.bound.schedule) if self.config.objective == "mdlm" else None,
            tokenizer=self.tokenizer.model_bytes,
            data=self._data_record(),
        )
        self.saved_digest = digest_of(self.training.out)

    @property
    def _data_identity(self) -> dict[str, Any]:
        """What a resumed run must be trained on, wherever it lies."""
        return {
            "shards": [shard.fingerprint for shard in self.shards.files],
            "tokenizer": self.tokenizer.digest,
        }

    def resume(self) -> None:
        """Continue from the saved state.

        Raises:
            CheckpointError: if there is none, it cannot be read, or it is of another run.
        """
        path = self.training.state_path
        if not path.is_file():
            raise CheckpointError(
                f"no state to resume from: {path}", hint="leave --resume out, or pass --overwrite instead"
            )
        if not zipfile.is_zipfile(path):  # its directory stands at the end
            raise CheckpointError(
                f"cannot read {path}", seen=f"{counted(path.stat().st_size, 'byte')} that are no whole state of a run",
                hint="it was cut short, or another program wrote it; pass --overwrite to start afresh",
            )  # fmt: skip
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._require_same_run(state["identity"])
            self._require_same_data(state.get("data"))  # states of before name none
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds, self._history = state["step"], state["seconds"], state["history"]
        except CheckpointError:
            raise
        except Exception as error:  # a damaged file may fail in any way
            seen = f"{type(error).__name__}: {next(iter(str(error).splitlines()), ''):.100}"
            hint = "it is damaged, or another version wrote it; pass --overwrite to start afresh"
            raise CheckpointError(f"cannot read {path}", seen=seen, hint=hint) from None

    def _require_same_run(self, saved: Mapping[str, Any]) -> None:
        if "mlp_width" not in saved and "width" in saved:  # before it could be set
            saved = {**saved, "mlp_width": 4 * saved["width"]}
        saved = {name: getattr(Training, name) for name in LATER_SETTINGS} | dict(saved)
        for name, value in self.training.identity().items():
            if saved.get(name) != value:
                seen = f"{value} now, {saved.get(name)} in {self.training.state_path}"
                raise CheckpointError(f"--resume with another --{name.replace('_', '-')}", seen=seen)

    def _require_same_data(self, saved: Mapping[str, Any] | None) -> None:
        """The windows of a step are places in these shards, in their order."""
        now, hint = self._data_identity, "pass what the run was trained on, or --overwrite to start afresh"
        if saved is None or saved == now:
            return
        if saved["tokenizer"] != now["tokenizer"]:
            raise CheckpointError("--resume with another --tokenizer", seen=self.training.tokenizer, hint=hint)
        seen, expected = (counted(len(held["shards"]), "shard") for held in (now, saved))
        for shard, before in zip(self.shards.files, saved["shards"], strict=False):
            if shard.fingerprint != before:
                seen, expected = f"{shard.path}, tokens {shard.fingerprint}", f"the shard with tokens {before}"
                break
        raise CheckpointError("--resume with other training --data", seen=seen, expected=expected, hint=hint)

    def _data_record(self) -> dict[str, Any] | None:
        """The validation shards, where they lie inside the checkpoint's folder: it may name no others."""
        folder = self.training.out.resolve().parent
        paths = [path.resolve() for path in self.training.val_data]
        if not paths or not all(path.is_relative_to(folder) for path in paths):
            return None
        return {"paths": [path.relative_to(folder).as_posix() for path in paths], "notes": {}}

    @property
    def names_its_data(self) -> bool:
        """Whether the checkpoint says on which text it may be scored."""
        return self._data_record() is not None

    @property
    def num_validation_windows(self) -> int:
        """That a validation scores; 0: there is none."""
        return 0 if self._validation is None else self._validation.num_windows

    def validate_fewer(self, num_windows: int) -> None:
        """Score the first so many windows alone from here on."""
        assert self._validation is not None
        self._validation.num_windows = num_windows

    def validate(self) -> BpbResult | None:
        """What the harness's estimator says of the averaged weights; None without validation shards."""
        if self._validation is None:
            return None
        return self._validation.score(self.network, self.weights, self.bound.schedule)

    def report(self) -> str:
        """Where the run stands, in a line."""
        line = f"step {self.step}: training {self.recent_bits():.4f} bits/token"
        result = self.validate()
        if result is None:
            return line
        kind = "NLL" if self.config.objective == "ar" else "NELBO"
        which = "validation (on training text)" if self.shards_in_both else "validation"
        return f"{line}, {which} {kind} {result.length.bits_per_token:.4f} ({result.length.bits_per_byte:.4f} bpb)"


def _config_of(training: Training, vocab_size: int) -> ReferenceConfig:
    return ReferenceConfig(
        vocab_size=vocab_size,
        context_length=training.context,
        num_layers=training.layers,
        width=training.width,
        num_heads=training.heads,
        mlp_width=training.hidden_width,
        objective=training.objective,
        time_conditioned=training.time_conditioned,
        block_size=training.block_size,
        tied_head=training.tied_head,
    )
