"""What the numbers of docs/laptop.md say, in words; written after reading them."""

__all__ = ["INTRODUCTION"]

INTRODUCTION = """# The laptop's results

Made by `make laptop` (`python -m experiments.laptop`): the paper's tables and figures by `pilcro reproduce` at laptop scale,
and what they do not ask. CIFAR-100 is stood for by crops of eight photographs (2400 to train on, 600 to test on), ImageNet by
5000 digits (4000 and 1000); the network is a small ResNet (16 to 64 channels), 6 epochs. The weight α is as applied at every
tenth step, of the mean over pixels. This is no CIFAR-100: 222 steps where the paper has 78,000, and 372 on digits. Five seeds
for Table 1 and three for Table 2 and all else. Intervals are Student's at 95 %, of differences between runs of one seed.

What they say:

- **¶_t flattens at the paper's weights, and costs little.** With α = 1 and 10 TV falls 7.3 and 10.7 times in RC-, 4.3 and
  8.8 times in RC+ (the paper: 10 and 20, 4 and 7), every interval above 1; on digits 13.1 [9.7, 17.7] and 16 [8, 33] times
  (the paper, on ImageNet: 10 and 26). Top-1 changes by -0.016 [-0.047, +0.015] and -0.029 [-0.113, +0.056] in RC-, +0.003
  [-0.015, +0.022] and -0.028 [-0.072, +0.017] in RC+, -0.0003 [-0.004, +0.003] and -0.010 [-0.022, +0.003] on digits: no gain
  and no loss stands out. α = 100 costs 0.18 [0.05, 0.32], 0.23 [0.13, 0.33] and 0.42 [0.17, 0.67].
- **The paper's best setting is not best here.** ¶_t with α = 10 has a lower mean Top-1 than no penalty in all three settings.
  Its gain in the paper is 0.022 on CIFAR-100, inside the interval in RC- and beyond it in RC+, and 0.003 on ImageNet, just
  beyond the interval on digits. What the paper orders among its penalties is the same way round here: the means of ¶_t are
  above those of ¶_c, in Top-1 and in flatness, at each α.
- **¶_c does not flatten, and crushes at 10.** Its gradient at α = 1 is 9 times that of the cross-entropy before the first
  step, 88 times at 10, 880 times at 100, where ¶_t's is 0.28, 2.8 and 28 times; on digits 33 times at α = 1, where ¶_t's is
  1.5. TV with α = 1 is 3.0 [0.3, 28] times lower in RC-, 1.1 [0.6, 2.0] times in RC+ and 0.7 [0.3, 1.7] times on digits; Top-1
  falls by 0.05, 0.05 and 0.03 at α = 1, by 0.23, 0.29 and 0.61 at 10. With α = 100 one of three runs on digits no longer sees
  its input.
- **The hole at the border.** Without padding the Laplacian sees no corners, and the landscape goes there: with α = 1 the
  outermost pixels, an eighth of all, hold 0.54 of the landscape's energy in RC- and 0.85 in RC+. With replicated borders they
  hold 0.21 and 0.50: a difference of -0.32 [-0.90, +0.25] and -0.35 [-0.65, -0.06], at the same Top-1. The means of TV fall
  three and two times; the landscapes are not flat either way.
- **Faster?** In the first epoch Top-1 of ¶_t with α = 1 is 0.020 [0.002, 0.038] above no penalty in RC-, 0.009
  [-0.009, 0.028] below it in RC+, and 0.040 [-0.003, 0.083] above it on digits, where α = 10 is 0.21 [0.01, 0.41] below
  (Figure 4, its second row): nothing that holds for all.
- **Random crops do not flatten the landscapes of photographs**: TV without penalty is 0.77 ± 0.05 in RC-, 0.81 ± 0.06 in RC+
  (the paper: 0.019 and 0.006). On digits flips and crops move TV from 0.83 ± 0.09 to 0.47 ± 0.02, cost 0.063 [0.027, 0.099] of
  Top-1, since a mirrored digit is another one, and make moved digits known: Top-1 over shifts +0.203 [0.186, 0.220].
- **A flat landscape does not make a network translation invariant.** ¶_t with α = 1 changes Top-1 over shifts by +0.001
  [-0.052, +0.054] on digits in the middle and by +0.005 [-0.015, +0.025] on digits in the corners. There topology favours the
  top left, 1.41 of the mean importance against 0.87 at the bottom right, and yet Top-1 is lowest there.
- **Robustness to corruptions** (Tables 3 and 4). Of the paper's orderings none is decided. On photographs blur and digital
  corruptions hardly change an answer (0.93 to 1.00 of the probability is kept); ¶_t with α = 10 keeps 0.972 ± 0.02 and 0.957 ±
  0.007 under noise, where no penalty keeps 0.952 and 0.947 and the paper has it behind. On digits ¶_t with α = 10 keeps 0.20
  [0.06, 0.34] more under weather, which takes most of a digit's black background; all other differences of α = 1 and 10 from
  no penalty have zero inside their interval.
- **Independent noise hurts the regularised network, correlated noise does not**: with noise of half the images' deviation ¶_t
  with α = 10 keeps 0.023 [0.009, 0.038] less than no penalty, and with the same noise blurred 0.012 [-0.065, +0.089] more. That
  is the way round of Table 3's caption; it is one of four comparisons, and the noise of Table 3 itself, which is weaker,
  decides nothing. Its squared gradient is 1.15 times as large: the penalty fixes the shape of the
  landscape, and not its size, on which independent noise depends.
- **Taking away the most relevant pixels** (Figure 5) hurts the regularised network more, not less: the area under the curve is
  0.121 without penalty and 0.028 [0.011, 0.045] and 0.076 [0.020, 0.132] lower with ¶_t, α = 1 and 10. The paper's narrow
  range of better weights is not seen on digits.
- **33 pixels instead of 32** halve the flip asymmetry after training, 0.63 ± 0.06 to 0.29 ± 0.02, and change Top-1 by +0.001.
- **A larger network on more photographs** (torchvision's ResNet-18 on 64-pixel crops of eighteen, 402 steps, one seed, its last
  section): ¶_t with α = 1 and 10 lowers TV from 0.223 to 0.081 and 0.017, and Top-1 is 0.756 and 0.730 where no penalty has
  0.715. On 540 test images the standard error of such a difference is 0.03: no loss, and no gain that one run could show.
"""
