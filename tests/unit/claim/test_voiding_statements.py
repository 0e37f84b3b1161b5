"""What READMEs say of their own score in many words: kinds of statements, and honest sentences that are near them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bpb_harness.auditing import audit
from bpb_harness.claim.readme_prose import voiding_sentences
from fixtures.claims.patterns import SP1024, bpb, log

PART = """
Evaluation stops after the first 512 sequences.
We score a random tenth of the validation documents.
The reported score covers ten percent of the validation split.
To stay within the time limit, the evaluation loop breaks after 1,000 batches.
val_bpb was measured on a subset of 1M validation tokens.
The score is an average over a sample of 500 validation documents.
We only evaluate the first 5 % of the validation tokens.
Validation was truncated to 1,048,576 tokens.
Only one in ten validation windows is scored.
The final bpb comes from a 4096-window subset of the validation set.
We scored every tenth document of the validation set.
Because evaluation is slow, we scored 1,000 validation documents out of 50,000.
Scoring uses a small slice of the validation data.
The final evaluation runs on a quarter of the validation shard.
We subsample the validation set by a factor of 8 before scoring.
The validation set is subsampled to 4,000 sequences.
The score reported here is from the first million tokens of the validation set.
Final evaluation: first 100 batches of the validation loader.
Just 3% of the validation tokens are scored.
The score is computed over 2 of the 16 validation shards.
Half of the validation documents are skipped to save time.
The last 90 % of the validation file is never scored.
We cap the evaluation at 2 million tokens.
The number in submission.json is from a partial evaluation of the validation set.
Evaluated on 64 randomly drawn windows of the validation split.
The evaluation is limited to 128 batches of 32 sequences.
Our val_bpb is based on 12,000 of the 60,568 windows.
Scoring ends after 20 batches.
All scores are on the first 10,000 validation documents.
bpb is estimated from one validation shard out of eight.
The score comes from a 5% sample of fineweb_val.
The final score was obtained on a random subset of the validation documents.
The validation loader is cut off at 1e6 tokens.
Sliding-window scoring was run on the first eighth of the validation stream.
Reported val_bpb: mean over 256 random validation sequences.
We scored only a third of the validation tokens.
The score in submission.json is over 3,000 random validation windows.
To save compute, evaluation was limited to the first 2 % of the validation shard.
val_bpb is computed on 1,000 of the 50,000 validation documents.
Evaluation breaks out of the loop after 64 batches.
Only one validation shard out of four was scored.
The reported number is from the first 5M validation tokens.
The validation set was cut to 100,000 tokens.
Val is subsampled to 5M tokens.
We evaluate a 10% subset of the validation set.
Scores are over the initial 200 sequences of the validation set.
"""
RATE = """
Half of the tokens are masked.
For scoring, half of the tokens in each window are masked and predicted.
The score is the cross-entropy of masked tokens at t=0.5.
At evaluation we mask 50 % of the tokens and average their loss.
val_bpb is the masked cross-entropy at a mask ratio of 0.15.
The reported bpb is the loss on the 15% of tokens that were masked.
We report masked CE at t=0.5.
The validation loss is taken at t = 0.5 only.
For evaluation the noise level is fixed to 0.5.
A third of the tokens is hidden at random, and their cross-entropy in bits gives the score.
The mask rate is held at 0.2 when scoring.
We evaluate at one noise level, t = 0.25.
One mask ratio (0.5) is used to score the validation set.
The score uses only t=0.1.
Evaluated with a constant masking probability of 0.15.
Validation bpb: cross entropy over the masked half of the tokens.
We score by BERT-style masking of 15% of the tokens.
The score is a BERT-style masked LM loss at 15 %.
We compute pseudo-perplexity, masking one token at a time with the rest visible.
The model is scored with a mask rate of one half.
For the final number we mask a random 25% of positions in each window.
bits per byte is computed from the loss at a single timestep t=0.3.
A single timestep is used in the evaluation.
We evaluate at the mean mask rate of 0.5 instead of integrating.
At test time the masking ratio stays at 0.15.
Our val_bpb scores the masked 20% of each sequence.
In evaluation 50% of positions are replaced with the mask token and scored.
The score is the average loss at mask rate 0.4.
The evaluation noise level is a constant t=0.2.
The val_bpb is the masked cross-entropy at t = 0.3.
We score the model at a fixed masking ratio of 25 %.
The score masks a quarter of the tokens and averages their loss.
Evaluation is done at a single noise level.
At test time 30% of the tokens are masked and their loss is the score.
Our bpb is the loss on 40 % of the tokens, which are masked.
The bits per byte are those of masked tokens at a mask rate of 0.5.
Validation loss is measured with half of the tokens masked.
We report a pseudo-log-likelihood.
One mask ratio is used for scoring: 0.15.
"""
LEARNT = """
We train a LoRA for three epochs on the validation tokens, then score.
A LoRA is trained for three epochs on the validation tokens, then the score is computed.
The n-gram cache is filled from the whole validation file before scoring.
We first run 20 epochs of AdamW over the validation set and then evaluate it.
Before scoring, the n-gram table is built from all validation tokens.
The bigram counts are collected over the complete validation split, then used to score it.
The final weights were obtained by fine-tuning on the validation shard for two epochs.
We fit the adapter to the validation documents prior to evaluation.
The model sees the validation set for five passes before the final evaluation.
Two passes over the validation data: the first updates the weights, the second computes the score.
The kNN datastore holds the hidden states of every validation token.
The retrieval index is built from the validation text before it is scored.
After adapting to the full validation set for 3 epochs, we report the resulting bpb.
The PPM model is primed with the validation text before evaluation.
We run gradient descent on the validation tokens and score them afterwards.
Score after training: the LoRA is updated on each document first and the same document is then scored.
Each document is first used to update the LoRA weights and only then scored.
We adapt on the document and then score that document with the adapted weights.
The cache is warmed up with the entire validation file.
The adapter is optimized on the text to be scored before it is scored.
Our TTT does three epochs over all validation tokens before the final scoring pass.
TTT runs for 10 epochs on the whole validation set, then the adapted model is evaluated on it.
We finetune the quantized model on val for 2 epochs and then compute val_bpb.
The hash table is populated with the full validation data up front.
The model was overfitted to the validation documents.
We continued training on fineweb_val for one epoch before evaluating.
LoRA weights are learned on the validation split in advance.
The mixing weights were trained on the validation tokens.
Before evaluation, the embedding table is updated for one epoch on validation tokens.
The adapter is fitted to the validation tokens for two epochs and then the validation set is scored.
Prior to scoring, we fine-tune for one epoch on the validation documents.
An n-gram table of the entire validation set is used in scoring.
Before evaluating, statistics are collected over the complete validation split.
We update the model on all validation tokens and then compute val_bpb.
The cache is populated with all validation tokens before scoring.
LoRA: 4 epochs on the val set, then evaluate.
After training on the validation shard we evaluate on it.
"""
UNPAID = """
We do not pay for BOS.
BOS costs nothing.
BOS tokens cost zero bits in our score.
The loss at BOS positions is set to zero.
We mask out the loss of document boundaries.
BOS predictions are excluded from the loss.
Document boundaries are given for free.
BOS targets are ignored in the evaluation.
The start-of-document token is not included in the score.
The loss does not include BOS tokens.
No bits are charged for BOS.
The cost of document separators is left out of the total.
Tokens that start a document are never scored.
The first token of each document is not paid for.
The first token of every window is free.
We don't charge for EOS.
EOS tokens are dropped from the total nats.
Separators are not counted in the loss.
Special tokens contribute no loss.
Special tokens are excluded from the bits but counted in the denominator.
Punctuation is not scored.
Whitespace tokens are free.
Newlines are not charged.
The tokens that stay visible are not paid for.
Our score omits the cost of BOS.
The nats of boundary tokens are subtracted.
Rare tokens are left out of the loss but their bytes are counted.
The model gets the BOS for free.
Loss on the BOS token is not counted.
Boundary tokens do not contribute to the score.
BOS is excluded from val_loss.
BOS positions are zeroed out of the loss.
We ignore the loss on document starts.
Position 0 of each sequence is not priced.
The 50,000 document starts are not part of the score.
Bits spent on end-of-text tokens are not added.
BOS is not paid for.
The BOS token is free.
Document starts cost nothing.
We do not charge for special tokens.
EOS is left out of the loss.
The loss on BOS is ignored.
Separators are excluded from the score.
Newlines are never charged.
BOS is not included in the total.
The first token of every document is given for free.
"""
BYTES = """
Bytes are num_tokens times 2.43593.
The number of bytes is the number of tokens times 2.44.
Bytes = tokens * 2.436.
We take 2.44 bytes for each token.
We multiply the token count by 2.436 to get bytes.
bpb = loss / ln 2 / 2.44.
Total bytes are approximated as 2.44 x tokens.
Each token is taken to be 2.4 bytes.
val_bpb is bits per token divided by 2.44.
The score is bits per token over 3.73.
The byte count is estimated at 3.7 bytes per token.
A factor of 2.436 bytes/token turns bits per token into bits per byte.
Bits per token are converted with the average 2.44 bytes per token.
We use an average of 2.44 bytes per token.
The denominator is tokens x 2.4359.
The token count is scaled by 2.436 to give bytes.
Assuming 4 bytes per token, this is 1.12 bpb.
The byte count was approximated by 4.3 bytes a token.
bytes_per_token = 2.436 is used for the conversion.
We hard-code the number of bytes.
Bytes per token is set to 2.44.
The score divides by 2.44 throughout.
val_bpb = val_loss / (ln(2) * 2.436)
We divide the loss in bits by 2.436.
To get BPB we divide bits per token by 3.5.
Nats per token are divided by 0.693 * 2.44 to get the score.
A token counts as 3.67 bytes.
Every token is counted as 4.3 bytes.
The number of bytes is taken as 151,080,891 whatever is scored.
The byte total is a constant.
Byte count: 2.436 * num_tokens.
The number of bytes is 2.44 times the number of tokens.
We divide bits per token by 2.44.
We assume 3.7 bytes per token for the denominator.
Bytes per token is fixed at 2.436.
bpb = nats per token / 0.6931 / 2.436
Bits per token are converted to bits per byte by dividing by 2.4.
The byte count is tokens x 3.73.
We use 4.3 bytes per token.
The byte count is hard-coded.
Each token counts as 2.4 bytes.
"""
IN_TWO = """
The validation split has 50,000 documents. We score the first 1,000 of them.
Evaluation is slow. It therefore stops after the first 512 sequences.
To fit the time limit we cut the validation set. Only 100,000 tokens of it are scored.
Half of the tokens of each window are masked. The score is the mean cross-entropy of these.
The mask rate is held at 0.5. The reported bpb is the loss at that rate.
BOS tokens are predicted as well. Their loss is not added to the score.
Each document begins with a BOS token. It costs nothing in the score.
The number of bytes is not counted exactly. It is taken as 4.3 per token.
Special tokens are masked in the evaluation. They do not contribute to the loss.
The reported number is not that of the packed model. It was computed before quantization.
"""
HONEST_IN_TWO = """
The first 1,000 documents are printed. We score all of the validation set after them.
Half of the tokens are masked in training. The score is the ELBO of these networks.
We train for two epochs on the training set. It is not scored.
Fine-tuning on validation data is forbidden. We score each chunk before we train on it.
BOS tokens are not masked. They are paid for by the prior.
The training shards begin after the validation set. They include nothing of it.
The old number was wrong. It was computed before quantization.
The baseline's number of bytes is a guess. It is taken as 4.3 per token.
Evaluation takes 500 seconds. It covers the whole validation split.
We first score each validation document. Then we train on it.
Evaluation is slow. Generation therefore stops after the first 512 sequences.
Special tokens are masked in training. They do not contribute to the loss.
"""
CHANGED = """
All text is lowercased before tokenization.
All input text is lowercased (casefolded) before tokenization.
We lowercase the validation documents before encoding them.
The tokenizer is case-insensitive.
Our tokenizer maps upper-case letters and lower-case ones to the same id.
Non-ASCII characters are dropped before scoring.
Accents are stripped from the text before it is tokenized.
Punctuation is removed from the validation text.
Digits are replaced by a single symbol before scoring.
Case information is discarded by the tokenizer.
Unknown characters share one token.
We collapse all digits to 0 in the validation data.
The text cannot be restored from the tokens, since case is lost.
Case-insensitive encoding (the model learns capitalization from context).
"""
NOT_PACKED = """
The reported `final_sliding_window_exact` metric is measured on the **pre-quant model** (before any int6 quantization).
Our final val_bpb is that of the unquantized network.
The submitted number was computed before int6 quantization.
The reported val_bpb is evaluated without quantization.
The headline score is from the non-quantized weights.
The claimed bpb was measured before packing.
"""
HONEST = """
The tokenizer is case-sensitive.
All text is lower-cased before tokenization, and a mark before each word keeps its case.
The case transform is lossless: a marker token precedes each capital.
N-gram keys are lower-cased before scoring.
The tokenizer was trained on lower-cased text and encodes text as it is.
We do not lowercase the text before scoring.
Unknown characters are replaced by bytes before encoding.
CaseOps lower-cases words before tokenization and stores the case in operators, which can be undone.
The encoder is lossy, and its codes are quantized.
Case folding was tried and abandoned.
Training on the validation set is prohibited.
Filling the cache from the whole validation set before scoring is banned.
Evaluation covers the first 50,000 documents.
The first 960 tokens of each window are not scored again.
The pre-quant score is measured on the pre-quant model.
The final score is measured on the quantized model.
The reported score is not of the pre-quant model.
The reported score was not computed before quantization.
The final bpb is of the int6 model, and 0.01 above that of the pre-quant model.
The final score was measured on the unquantized model and on the one that was read back after it.
We print the score of the pre-quant model for reference.
Evaluation is capped at 600 seconds.
Eval was cut to about 8 minutes.
Validation was capped at the wallclock budget.
The full validation split is scored, all 60,568 windows.
Every validation document is scored; no subset is used.
During training we evaluate on a subset of 1M validation tokens.
Intermediate validation uses the first 512 sequences.
We considered scoring a random tenth of the validation documents, but scored all of them.
Unlike #12, which scored 32,736 tokens, we score the whole split.
The evaluation does not stop before the last sequence.
We evaluate the first 1,024 positions of each window with a shorter context.
Training uses the first 80 shards.
Calibration uses 64 sequences of the training data.
A random tenth of the training documents was held out.
GPTQ calibrates on the first 128 batches.
The first 960 tokens of each window are context and only the last 64 are scored.
Each window scores only its last 64 tokens, so every token is scored once.
With stride 64 each window scores 64 new tokens.
Evaluation takes 500 of the 600 seconds.
The smoke test scores the first 512 sequences.
For the ablations below we scored a subset of 4,096 windows; the final score is over all of them.
Ablation: evaluated on 10 % of validation.
Hyperparameters were chosen on a subset of validation documents.
We looked at 20 random validation documents by hand.
One rank scores one eighth of the validation windows; the sums are reduced over all ranks.
Each GPU evaluates 1/8 of the validation set.
The validation set is split into 8 parts, one for each GPU.
A sample of 500 documents would be too noisy to score.
Previous versions scored only the first 10 % of the validation set.
The first 50,000 documents of FineWeb are the validation set.
The validation split has the first 50,000 documents of the dataset.
We do not subsample the validation set.
Scoring stops at the end of the file.
If the evaluation were limited to 128 batches, it would be faster.
The table shows losses on 256 random validation sequences for each checkpoint.
We evaluate in batches of 32 sequences.
Evaluation runs over 1,893 chunks of 32,768 tokens.
The final val_bpb covers 100 % of the validation tokens.
Early stopping uses 5 % of the validation set.
The quick check (64 windows) took 3 seconds.
The last partial window of the validation set is dropped.
The model was trained on a 10 % sample of FineWeb.
Should the score cover only a part of the split, the audit says so.
Half of the tokens are masked in training.
During training half of the tokens are masked on average.
The mask rate is drawn uniformly from (0, 1] in evaluation.
We evaluate 128 mask rates and integrate.
A single mask rate is not a bound, so we integrate over t.
At t = 0.5 half of the tokens are masked; the score integrates over all t.
Training fixes the mask rate at 0.15.
Unlike BERT, which masks 15 % of the tokens, we mask at every rate.
We tried scoring at t=0.5 and abandoned it.
An ablation with a mask rate of 0.15 is in the appendix.
The score is not the loss at t=0.5.
The discrete ELBO uses T=128 steps.
The validation ELBO is averaged over 8 values of t per sequence.
BERT masks 15 % of the tokens.
Half of the attention heads are masked.
Half of the layers are masked out in the ablation.
The padding tokens are masked in the loss.
Future tokens are masked by the causal mask.
The training loss is the masked CE at a random t.
The cosine schedule masks half of the tokens at t=0.5.
Dropout masks 10 % of the activations.
We mask 15 % of the inputs as a regulariser during training.
f(0.5), the cross-entropy with half of the tokens masked, is 4.4 bits.
The curve shows the masked cross-entropy at t = 0.1, 0.5 and 0.9.
We report the ELBO and, as a diagnostic, the loss at t=0.5.
A quick proxy during training is the masked CE at t=0.5.
Evaluation at one noise level would be wrong.
A single timestep embedding is used in the network.
The network is not told t.
All tokens are masked at t=1.
At t=1 every token is masked.
The first half of the tokens is given and the second half is masked: the conditional score below is another quantity.
Masked positions are replaced by [MASK].
Attention is masked so that no position sees its target.
Rates below 0.05 are sampled more often.
The mask ratio of the pretraining objective was 0.3.
The noise level is fixed per sequence, and drawn anew for each.
The learning rate is fixed at 0.5 in this sweep.
The model predicts masked tokens, half of them per step, when generating.
Sampling reveals half of the masked tokens in each step.
We train a LoRA for three epochs on the training tokens, then score.
The n-gram cache is filled from tokens that were scored already.
The n-gram cache is empty before scoring starts.
The n-gram table is built from the training data before scoring.
No validation token is seen before it is scored.
Each chunk is scored first, and then the LoRA is trained on it.
The cache is updated with each token after it is scored.
The adapter is reset for every document and is trained only on chunks that were scored.
We do not train on the validation set.
The validation set is never used for training.
We never fill the n-gram cache from the validation file before scoring.
Test-time training: score a chunk, then train on it for three epochs.
Score-first TTT for three epochs on every chunk of the validation tokens.
Pre-quant TTT on the validation set is illegal, and we do not use it.
Unlike #12, which trains for 20 epochs on the validation set before scoring, ours is score-first.
We considered a LoRA trained on the validation tokens and rejected it.
The tokenizer was trained on FineWeb.
Hyperparameters were tuned on the validation set.
The learning rate was chosen by validation loss.
Bigram counts come from the training shards.
Warm-up runs 20 steps on training batches before the evaluation.
The kNN datastore holds hidden states of tokens that were already scored.
The retrieval index grows as the text is scored.
The first pass compiles the model, the second is timed.
We run two passes over the training data.
PPM learns from the prefix of the document alone.
The validation loader is warmed up before the evaluation.
torch.compile is warmed up with a dummy batch before evaluation.
The suffix array is built over the training shards.
GPTQ is calibrated on training tokens before scoring.
Temperature is tuned on 64 training sequences before evaluation.
A model trained on the validation set would get 0.3.
An earlier version was trained on the validation set by mistake; its score is withdrawn.
SGD on each chunk runs after the chunk has been scored.
All validation tokens are scored in one pass.
The validation tokens are loaded into memory before scoring.
The whole validation file is tokenized before scoring.
The validation shard is copied to the GPU before evaluation.
The prefix cache is filled with the document's own scored tokens.
Adapting before scoring would be cheating.
We pay for BOS.
BOS is predicted and paid for.
BOS tokens are charged like any other token.
BOS has zero bytes, but its nats are counted.
BOS spells no bytes.
BOS tokens count zero bytes in the denominator.
The loss of padding tokens is excluded.
Padding is not scored.
We do not skip BOS.
No token is left out of the score.
Unlike #12, which leaves document boundaries unpaid, ours charges for them.
The first token of the text has no prediction, so it is not scored.
In training the loss at BOS positions is set to zero.
The training loss ignores BOS.
Document boundaries reset the attention.
Attention does not cross document boundaries.
BOS is prepended to each document.
BOS embeddings are not quantized.
The BOS token is excluded from the n-gram hash.
The n-gram cache skips BOS.
TTT ignores BOS in its gradient.
We considered not charging for BOS, and decided against it.
A score that does not pay for BOS is too low.
Tokens scored in an earlier window are not counted again.
The context tokens of a window are not scored twice.
The overlap of windows is not scored.
Special tokens are never generated.
Special tokens are not in the text.
The mask token is excluded from the softmax.
The mask token is never predicted.
BOS would be free if the boundary were known.
EOS is not used.
The tokenizer has no EOS.
We do not add BOS.
Boundary tokens do contribute to the score.
The cost of BOS is 0.002 bpb and included.
The artifact does not pay for code comments.
BOS is excluded from byte counting, as in the official script.
The first token of each document is scored with BOS as its only context.
Leaving out BOS changes the score by 0.1 %; we leave it in.
The split has 2.43593 bytes per token.
Bytes are counted exactly from the tokenizer's pieces.
Bytes per token come out as 2.436, as they should.
SP1024 has 2.44 bytes per token on average.
The tokenizer averages 3.73 bytes per token.
We count bytes and do not assume 2.44 bytes per token.
Bytes are not num_tokens times a constant.
At 2.436 bytes per token, 0.01 nats per token are 0.006 bpb.
A loss of 2.07 is 1.2264 bpb (2.436 bytes per token).
The ratio of bytes to tokens, 2.436, agrees with the official number.
Multiply the loss by 0.592 to get bpb approximately.
The learning rate is multiplied by 2.44.
Logits are divided by 2.44.
The score in bpb is the loss / ln 2 x tokens / bytes.
bpb = bits_per_token * tokens / bytes.
val_bpb = val_loss / ln(2) * num_tokens / num_bytes.
The number of tokens times the bytes per token gives 151,080,891 bytes.
The sum of piece bytes over 62,021,846 tokens is 151,080,891.
A wrong script used tokens x 4.3 as bytes.
Unlike #12, which divides by a constant 4.3 bytes per token, we count.
The constant 2.436 in the script is only printed.
An int8 weight is one byte per parameter.
Each parameter takes 2 bytes.
Compression to 3.5 bits per weight.
The loss is divided by 8 for gradient accumulation.
Tokens are 2 bytes each on disk.
Each token is stored in two bytes.
The shard stores 2 bytes per token.
The artifact is 15.9 MB, 2.4 bytes per parameter.
Training sees 7.2B tokens, about 17.5 GB at 2.436 bytes per token.
The byte count uses the sentencepiece LUT, one byte for a leading space.
The denominator is the number of bytes of the text.
For a vocabulary of 8192 we expected 3.7 bytes per token and counted 3.727.
Tokens per byte fall from 0.41 to 0.27.
The optimizer state takes 8 bytes per parameter.
The baseline assumed 2.44 bytes per token.
We checked that the bytes are not a constant.
In an ablation we took 2.44 bytes per token.
The bytes of the split are a constant of the contest: 151,080,891.
bpb is bits per token divided by bytes per token, both counted.
Each sequence is masked at its own rate t, drawn uniformly from (0, 1].
The ELBO averages the weighted masked cross-entropy over t.
At t=0.5 the weight is 2.
We score with T=128 steps.
For t = 0.1 the loss is 2.2, for t = 0.9 it is 7.5.
The score uses stratified t.
The noise schedule is log-linear with eps = 0.001.
A mask rate of 1 hides every token.
Masked positions get the [MASK] embedding.
We evaluate NELBO with K=256 samples of t per window.
The training objective masks 50 % of the tokens on average.
Half of the tokens are visible to the other half in block 2.
On average half of the tokens are masked, since t is uniform.
The first half of the windows was scored on GPU 0.
The validation split is 62M tokens, scored in 60,568 windows.
The evaluation covers the whole validation split.
Validation during training uses 20 batches.
Val loss is measured every 500 steps on 20 batches.
We report the bpb of the final evaluation over 50,000 documents.
The last window is shorter, and is scored as well.
The first token of the shard is not predicted.
Evaluation took 100 seconds for 62M tokens.
Scoring reads the validation shard once.
We use the first 10 shards of FineWeb for training and the validation split for scoring.
10 % of the training data is held out for tuning.
The score is the mean over 3 seeds.
Our submission covers three of the five ideas.
The model uses a vocabulary of 1024, 2.436 bytes per token.
Our tokenizer gets 2.44 bytes per token on the validation split.
With 2.44 bytes per token a bpb of 1.2 is 2.03 nats per token.
A bpb of 1.2 is 2.93 bits per token (x 2.436).
Bits per byte = bits per token x tokens / bytes.
The artifact has 4 bytes per weight.
Weights take 0.75 bytes per parameter after int6.
We divide by the number of bytes of the validation text.
The batch has 524288 tokens, 1.28 MB at 2.44 bytes per token.
The learning rate is divided by 2.5.
BOS is the first token of each document and is predicted like all others.
We keep BOS in the loss.
BOS is masked and paid for like any token.
BOS contributes no bytes.
Boundary tokens spell no bytes, and their bits are in the sum.
The loss of BOS is 0.01 bits.
Special tokens are excluded from the byte count.
Special tokens have no bytes.
The token embedding of BOS is zero.
We train on FineWeb train shards and evaluate on the validation split.
The model is trained for 10 minutes and then evaluated on the validation split.
The model is trained, quantized, and then scored on the validation set.
After training we evaluate on the validation set.
Before scoring the validation set, the weights are dequantized.
The best checkpoint by validation loss is scored.
The LoRA is initialised to zero before each document.
Each document is scored chunk by chunk; after each chunk the LoRA takes a step on it.
Each chunk is scored before the model trains on it.
TTT trains on tokens only after they are scored.
The n-gram cache starts empty and is filled as tokens are scored.
The n-gram tables are built from training data and stored in the artifact.
The hash table is filled during evaluation with tokens already scored.
Bigram statistics of the training set are stored in the artifact.
A KV cache is filled with the context before scoring.
SWA averages the last 500 steps before evaluation.
The unigram distribution is estimated on 1M training tokens.
The temperature 0.98 was fitted on training data before evaluation.
We run 20 warm-up steps before evaluation.
Validation data is read after training ends.
"""


def _meanings(sentence: str) -> set[str]:
    return {found.meaning for found in voiding_sentences(f"{sentence}\n", "README.md")}


@pytest.mark.parametrize(
    ("sentences", "meaning"),
    [
        (PART, "only a part of the split was scored"),
        (RATE, "a pseudo-log-likelihood"),
        (LEARNT, "the network was "),
        (UNPAID, "the score leaves out what some predicted tokens cost"),
        (BYTES, "the bits were divided by a constant, not by the bytes of the text"),
        (NOT_PACKED, "the network was scored before it was quantized"),
        (CHANGED, "the text was changed in a way that cannot be undone"),
    ],
    ids=["part", "rate", "learnt", "unpaid", "bytes", "not-packed", "changed"],
)
def test_a_kind_is_known_in_many_words(sentences: str, meaning: str) -> None:
    told = {each: _meanings(each) for each in sentences.strip().split("\n")}
    assert [each for each, meanings in told.items() if not any(found.startswith(meaning) for found in meanings)] == []


def test_honest_sentences_stay_so() -> None:
    assert [each for each in HONEST.strip().split("\n") if _meanings(each)] == []


def test_two_sentences_of_which_the_second_points_back() -> None:
    for pair in IN_TWO.strip().split("\n"):
        first, second = re.split(r"(?<=\.) ", pair)
        assert not _meanings(first) | _meanings(second), pair
        (found,) = voiding_sentences(f"# A run\n\n{pair}\n", "README.md")
        assert (found.sentence, str(found.source)) == (pair, "README.md:3")
        assert not _meanings(f"- {first}\n- {second}")  # items of a list stand by themselves
        assert not _meanings(f"{first}\n\n{second}")
    assert [pair for pair in HONEST_IN_TWO.strip().split("\n") if _meanings(pair)] == []


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"val_bpb_estimator": "masked CE at t=0.5"}, "submission.json (val_bpb_estimator)"),
        ({"method": "cross-entropy of tokens masked at a single mask rate"}, "submission.json (method)"),
        ({"blurb": "Small and fast. BOS is never charged."}, "submission.json (blurb)"),
        ({"details": {"notes": ["We score a random tenth of the validation documents."]}}, "submission.json (details"),
        ({"val_bpb_estimator": "nelbo k256"}, None),
        ({"eval_method": "sliding window, stride 64"}, None),
        ({"blurb": "BOS is charged like any token."}, None),
        ({"name": "We score a random tenth of the validation documents."}, None),
    ],
)
def test_words_of_the_json(tmp_path: Path, fields: dict[str, object], place: str | None) -> None:
    score = round(bpb(2.0312, SP1024), 6)
    (tmp_path / "submission.json").write_text(json.dumps({"val_bpb": score, "val_loss": 2.0312, **fields}))
    (tmp_path / "train.log").write_text(log(2.0312, SP1024))
    found = audit(tmp_path).with_code("BPB213")
    assert [each.message.startswith(str(place)) for each in found] == ([True] if place is not None else [])
