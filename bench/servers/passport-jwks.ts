import { Controller, Get, Injectable, Module, Request, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { AuthGuard, PassportModule, PassportStrategy } from '@nestjs/passport';
import { passportJwtSecret } from 'jwks-rsa';
import { ExtractJwt, Strategy } from 'passport-jwt';
import 'reflect-metadata';

/** The usual way of a NestJS resource server: passport-jwt, with the keys of an issuer by jwks-rsa. */

interface Claims {
  readonly sub: string;
  readonly client_id: string;
  readonly scope: string;
}

interface Partner {
  readonly id: string;
  readonly username: string;
  readonly scopes: readonly string[];
}

const { ISSUER: issuer = '', JWKS_URI: jwksUri = '' } = process.env;

@Injectable()
class JwtStrategy extends PassportStrategy(Strategy) {
  constructor() {
    super({
      jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
      secretOrKeyProvider: passportJwtSecret({ cache: true, rateLimit: true, jwksRequestsPerMinute: 5, jwksUri }),
      issuer,
      audience: issuer,
      algorithms: ['ES256'],
    });
  }

  validate({ sub, client_id, scope }: Claims): Partner {
    return { id: sub, username: client_id, scopes: scope.split(' ') };
  }
}

@Controller()
class MeController {
  @UseGuards(AuthGuard('jwt'))
  @Get('me')
  me(@Request() { user }: { user: Partner }): Partner {
    return user;
  }
}

@Module({ imports: [PassportModule], controllers: [MeController], providers: [JwtStrategy] })
class AppModule {}

const app = await NestFactory.create(AppModule);
app.enableShutdownHooks();
await app.listen(Number(process.env['PORT']), process.env['HOST'] ?? '');
process.stdout.write(`Listening on ${await app.getUrl()}\n`);
