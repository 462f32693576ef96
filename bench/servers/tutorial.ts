import { Controller, Get, Injectable, Module, Post, Request, UnauthorizedException, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { JwtModule, JwtService } from '@nestjs/jwt';
import { AuthGuard, PassportModule, PassportStrategy } from '@nestjs/passport';
import { InjectRepository, TypeOrmModule } from '@nestjs/typeorm';
import { verify } from '@node-rs/bcrypt';
import { ExtractJwt, Strategy as PassportJwtStrategy } from 'passport-jwt';
import { Strategy as PassportLocalStrategy } from 'passport-local';
import 'reflect-metadata';
import { Column, Entity, PrimaryGeneratedColumn, Repository } from 'typeorm';

/**
 * The usual way, as the NestJS documentation's recipe "Passport (authentication)" builds it, with its users in a
 * TypeORM repository and bcrypt in the place where the recipe says that a real application needs it.
 *
 * bcrypt comes from @node-rs/bcrypt, the faster of the packages: `bcrypt` itself is compiled on installation.
 */

const JWT_SECRET = process.env['JWT_SECRET'] ?? '';

@Entity()
class User {
  @PrimaryGeneratedColumn()
  id!: number;

  @Column({ unique: true })
  username!: string;

  @Column()
  password!: string;
}

type PublicUser = Omit<User, 'password'>;

@Injectable()
class UsersService {
  constructor(@InjectRepository(User) private readonly users: Repository<User>) {}

  findOne(username: string): Promise<User | null> {
    return this.users.findOne({ where: { username } });
  }

  findOneById(id: number): Promise<User | null> {
    return this.users.findOne({ where: { id } });
  }
}

@Injectable()
class AuthService {
  constructor(
    private readonly users: UsersService,
    private readonly jwt: JwtService,
  ) {}

  async validateUser(username: string, password: string): Promise<PublicUser | null> {
    const user = await this.users.findOne(username);
    if (!user || !(await verify(password, user.password))) return null;
    return { id: user.id, username: user.username };
  }

  async login(user: PublicUser): Promise<{ access_token: string }> {
    return { access_token: await this.jwt.signAsync({ username: user.username, sub: user.id }) };
  }
}

@Injectable()
class LocalStrategy extends PassportStrategy(PassportLocalStrategy) {
  constructor(private readonly auth: AuthService) {
    super({ usernameField: 'Username', passwordField: 'Password' });
  }

  async validate(username: string, password: string): Promise<PublicUser> {
    const user = await this.auth.validateUser(username, password);
    if (!user) throw new UnauthorizedException();
    return user;
  }
}

@Injectable()
class JwtStrategy extends PassportStrategy(PassportJwtStrategy) {
  constructor(private readonly users: UsersService) {
    super({
      jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
      ignoreExpiration: false,
      secretOrKey: JWT_SECRET,
    });
  }

  async validate(payload: { sub: number }): Promise<PublicUser> {
    const user = await this.users.findOneById(payload.sub);
    if (!user) throw new UnauthorizedException();
    return { id: user.id, username: user.username };
  }
}

@Injectable()
class LocalAuthGuard extends AuthGuard('local') {}

@Injectable()
class JwtAuthGuard extends AuthGuard('jwt') {}

interface AuthenticatedRequest {
  readonly user: PublicUser;
}

@Controller()
class AppController {
  constructor(private readonly auth: AuthService) {}

  @UseGuards(LocalAuthGuard)
  @Post('generateToken')
  login(@Request() request: AuthenticatedRequest): Promise<{ access_token: string }> {
    return this.auth.login(request.user);
  }

  @UseGuards(JwtAuthGuard)
  @Get('me')
  getProfile(@Request() request: AuthenticatedRequest): PublicUser {
    return request.user;
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'postgres', url: process.env['DATABASE_URL'] ?? '', entities: [User] }),
    TypeOrmModule.forFeature([User]),
    PassportModule,
    JwtModule.register({ secret: JWT_SECRET, signOptions: { expiresIn: '2h' } }),
  ],
  controllers: [AppController],
  providers: [UsersService, AuthService, LocalStrategy, JwtStrategy],
})
class AppModule {}

const app = await NestFactory.create(AppModule);
app.enableShutdownHooks();
await app.listen(Number(process.env['PORT']), process.env['HOST'] ?? '');
process.stdout.write(`Listening on ${await app.getUrl()}\n`);
