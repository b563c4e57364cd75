"""What the numbers of docs/laptop.md say, in words; written after reading them."""

__all__ = ["INTRODUCTION"]

INTRODUCTION = """# The laptop's results

Made by `make laptop` (`python -m experiments.laptop`). The first part is `pilcro reproduce` at laptop scale: the fourteen
recipes of Table 1, five seeds each, on crops of eight photographs (2400 to train on, 600 to test on), a small ResNet (16
to 64 channels), 6 epochs, 10 CPU minutes in all. The weight α is as applied at every tenth step, of the mean over pixels.
This is no CIFAR-100: 222 steps where the paper has 78,000. Intervals are Student's at 95 %, of differences between runs
of one seed.

What they say:

- **¶_t flattens at the paper's weights, and costs little.** With α = 1 and 10 TV falls 7.3 and 10.7 times in RC-, 4.3 and
  8.8 times in RC+ (the paper: 10 and 20, 4 and 7), every interval above 1. Top-1 changes by -0.016 [-0.047, +0.015] and
  -0.029 [-0.113, +0.056] in RC-, +0.003 [-0.015, +0.022] and -0.028 [-0.072, +0.017] in RC+: no gain and no loss stands
  out. α = 100 costs 0.18 [0.05, 0.32] and 0.23 [0.13, 0.33].
- **The paper's best setting is not best here.** ¶_t with α = 10 has a lower mean Top-1 than no penalty in both settings; its
  gain of 0.022 in the paper lies inside the interval in RC- and beyond it in RC+. What the paper orders among its
  penalties is the same way round here: the means of ¶_t are above those of ¶_c, in Top-1 and in flatness, at each α.
- **¶_c does not flatten, and crushes at 10.** Its gradient at α = 1 is 9 times that of the cross-entropy before the first
  step, 88 times at 10, 880 times at 100, where ¶_t's is 0.28, 2.8 and 28 times. TV with α = 1 is 3.0 [0.3, 28] times
  lower in RC- and 1.1 [0.6, 2.0] times in RC+; Top-1 falls by 0.05 at α = 1, by 0.23 and 0.29 at 10, by half at 100.
- **The hole at the border.** Without padding the Laplacian sees no corners, and the landscape goes there: with α = 1 the
  outermost pixels, an eighth of all, hold 0.54 of the landscape's energy in RC- and 0.85 in RC+. With replicated borders they
  hold 0.21 and 0.50: a difference of -0.32 [-0.90, +0.25] and -0.35 [-0.65, -0.06], at the same Top-1. The means of TV fall
  three and two times; the landscapes are not flat either way.
- **Faster?** In the first epoch Top-1 of ¶_t with α = 1 is 0.020 [0.002, 0.038] above no penalty in RC- and 0.009
  [-0.009, 0.028] below it in RC+: nothing that holds for both.
- **Random crops do not flatten these landscapes**: TV without penalty is 0.77 ± 0.05 in RC-, 0.81 ± 0.06 in RC+ (the
  paper: 0.019 and 0.006).
- **Robustness decides nothing** (Table 3, three seeds). Blur and digital corruptions hardly change an answer about these
  crops (0.93 to 1.00 of the probability is kept). ¶_t with α = 10 keeps 0.972 ± 0.02 and 0.957 ± 0.007 under noise, where no
  penalty keeps 0.952 and 0.947 and the paper has it behind; 0.588 and 0.556 under weather (no penalty 0.566 and 0.567).
  α = 100 and ¶_c lose under noise.
- Table 2 and Figures 4 and 5 at laptop scale (`pilcro reproduce table2`, and so on) are not among these pages.
"""
